import type { TodosSocket } from "../contract.js";

export const tell = (socket: TodosSocket): unknown => socket.emit("changed", { id: 1, title: "soup" });
