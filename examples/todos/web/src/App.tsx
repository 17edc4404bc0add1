import { useEffect, useRef, useState, type FormEvent } from "react";
import type { Changes, Failure, Todo } from "./contract";
import { drop, failed, keep, socket, useTodos } from "./socket";

/** The title of what should be deleted, and who waits to know whether it may be. */
type Question = { title: string; answer: (sure: boolean) => void };

export function App() {
  const { connected, todos, draft } = useTodos();
  const [refusal, setRefusal] = useState("");
  const [question, setQuestion] = useState<Question | null>(null);

  useEffect(() => {
    const ask = (title: string, ack: (sure: boolean) => void): void =>
      setQuestion({
        title,
        answer: (sure) => {
          ack(sure);
          setQuestion(null);
        },
      });
    socket.on("sure?", ask);
    return () => {
      socket.off("sure?", ask);
    };
  }, []);

  /** What the server made of it, or why not. */
  function settle(answer: Todo | Failure): boolean {
    if (failed(answer)) {
      setRefusal(answer.error);
      return false;
    }
    setRefusal("");
    keep(answer);
    return true;
  }

  async function update(id: number, changes: Changes): Promise<void> {
    settle(await socket.emitWithAck("update", id, changes));
  }

  async function remove(id: number): Promise<void> {
    const answer = await socket.emitWithAck("delete", id);
    if (failed(answer)) setRefusal(answer.error);
    else if (answer) drop(id);
  }

  const all = [...todos.values()].sort((one, other) => one.id - other.id);
  const open = all.filter((todo) => !todo.done).length;
  return (
    <main>
      <header>
        <h1>To do</h1>
        <p role="status" className={connected ? "online" : "offline"}>
          {connected ? "Connected" : "Connecting…"}
        </p>
      </header>
      <NewTodo onMade={settle} onProblem={setRefusal} />
      <p className="refusal" role="alert">
        {refusal}
      </p>
      <ul aria-label="Things to do">
        {all.map((todo) => (
          <li key={todo.id}>
            <label>
              <input type="checkbox" checked={todo.done} onChange={() => update(todo.id, { done: !todo.done })} />
              <span className={todo.done ? "done" : ""}>{todo.title}</span>
            </label>
            <button type="button" aria-label={`Delete ${todo.title}`} onClick={() => remove(todo.id)}>
              Delete
            </button>
          </li>
        ))}
      </ul>
      <p className="soft">
        {all.length === 0 ? "Nothing to do. Add something above." : `${open} of ${all.length} to do`}
      </p>
      <p className="soft" aria-live="polite">
        {draft && `Somebody writes: ${draft}`}
      </p>
      {question && <Sure {...question} />}
    </main>
  );
}

function NewTodo(props: { onMade: (answer: Todo | Failure) => boolean; onProblem: (why: string) => void }) {
  const [title, setTitle] = useState("");

  function write(text: string): void {
    setTitle(text);
    socket.volatile.emit("writing", text);
  }

  async function make(event: FormEvent): Promise<void> {
    event.preventDefault();
    try {
      const answer = await socket.timeout(10_000).emitWithAck("create", title);
      if (props.onMade(answer)) write("");
    } catch {
      props.onProblem("The server does not answer. Try again.");
    }
  }

  return (
    <form onSubmit={make}>
      <label htmlFor="title">What is to be done?</label>
      <div className="row">
        <input id="title" value={title} autoComplete="off" onChange={(event) => write(event.target.value)} />
        <button type="submit">Add</button>
      </div>
    </form>
  );
}

function Sure({ title, answer }: Question) {
  const dialog = useRef<HTMLDialogElement>(null);
  useEffect(() => {
    dialog.current?.showModal();
  }, []);
  return (
    <dialog ref={dialog} aria-labelledby="sure" onCancel={() => answer(false)}>
      <h2 id="sure">Delete “{title}”?</h2>
      <p>It is not done yet.</p>
      <div className="actions">
        <button type="button" onClick={() => answer(false)}>
          Keep it
        </button>
        <button type="button" className="strong" onClick={() => answer(true)}>
          Delete it
        </button>
      </div>
    </dialog>
  );
}
