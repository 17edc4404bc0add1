// The connection, and what the components know of it.
import { useSyncExternalStore } from "react";
import { io } from "socket.io-client";
import type { Failure, Todo, TodosSocket } from "./contract";

/** One for the page: components come and go. */
export const socket: TodosSocket = io();

export const failed = (answer: unknown): answer is Failure =>
  typeof answer === "object" && answer !== null && "error" in answer;

interface State {
  connected: boolean;
  todos: ReadonlyMap<number, Todo>;
  /** What somebody else is writing. */
  draft: string;
}

let state: State = { connected: false, todos: new Map(), draft: "" };
const watchers = new Set<() => void>();

function change(part: Partial<State>): void {
  state = { ...state, ...part };
  for (const tell of watchers) tell();
}

export const keep = (todo: Todo): void => change({ todos: new Map(state.todos).set(todo.id, todo) });

export function drop(id: number): void {
  const todos = new Map(state.todos);
  todos.delete(id);
  change({ todos });
}

socket.on("connect", () => {
  socket.emit("list", null, (answer) => {
    if (!failed(answer)) change({ connected: true, todos: new Map(answer.map((todo) => [todo.id, todo])) });
  });
});
socket.on("disconnect", () => change({ connected: false, draft: "" }));
socket.on("changed", keep);
socket.on("deleted", drop);
socket.on("somebody writes", (draft) => change({ draft }));

export const useTodos = (): State =>
  useSyncExternalStore(
    (tell) => {
      watchers.add(tell);
      return () => watchers.delete(tell);
    },
    () => state,
  );
