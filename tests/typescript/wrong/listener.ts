import type { TodosSocket } from "../contract.js";

export const listen = (socket: TodosSocket): unknown => socket.on("sure?", (title, ack) => ack(title.length));
