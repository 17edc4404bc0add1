import type { TodosSocket } from "../contract.js";

export async function make(socket: TodosSocket): Promise<number> {
  const todo = await socket.emitWithAck("create", "soup");
  return todo.id; // it may be a failure, which has none
}
