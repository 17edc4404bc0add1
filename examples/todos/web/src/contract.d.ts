// Made from the contract `Todos` of the server. Do not edit.
import type { Socket } from "socket.io-client";

/** The answer in the place of the declared one when the server refused the event or failed. */
export interface Failure {
  error: string;
  data?: unknown;
}

/** Bytes. Browsers receive an `ArrayBuffer`, Node.js a `Buffer`. */
export type Binary = ArrayBuffer | Uint8Array;

/**
 * What changes; what is left out stays.
 */
export type Changes = { title?: string, done?: boolean, };

/**
 * Which ones to list.
 */
export type Filter = "open" | "done";

/**
 * One thing to do.
 */
export type Todo = { id: number, title: string, done: boolean, 
/**
 * The name of the picture, if there is one.
 */
picture: string | null, };

export interface ClientToServerEvents {
  /** All of them, or some. */
  list: (filter?: Filter | null, ack?: (answer: Array<Todo> | Failure) => void) => void;
  /** Makes one of a title of 1 to 100 characters. */
  create: (title: string, ack: (answer: Todo | Failure) => void) => void;
  update: (id: number, changes: Changes, ack: (answer: Todo | Failure) => void) => void;
  /**
   * Asks the client that sent it whether it is sure, if the thing is not done yet. The answer
   * is whether it was deleted.
   */
  delete: (id: number, ack: (answer: boolean | Failure) => void) => void;
  /** Adds a PNG of at most 64 kB. */
  attach: (id: number, name: string, content: Binary, ack: (answer: Todo | Failure) => void) => void;
  picture: (id: number, ack: (answer: Binary | Failure) => void) => void;
  /** Shows the others that somebody is writing. */
  writing: (title: string) => void;
}

export interface ServerToClientEvents {
  /** Somebody made or changed one. */
  changed: (todo: Todo) => void;
  deleted: (id: number) => void;
  "somebody writes": (title: string) => void;
  "sure?": (title: string, ack: (answer: boolean) => void) => void;
}

/** A list of things to do, the same one for everybody. */
export type TodosSocket = Socket<ServerToClientEvents, ClientToServerEvents>;
