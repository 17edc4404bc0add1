import type { TodosSocket } from "../contract.js";

export const rename = (socket: TodosSocket): unknown => socket.emitWithAck("update", "one", { title: "soup" });
