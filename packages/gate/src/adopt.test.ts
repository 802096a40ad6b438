import assert from "node:assert/strict";
import { once } from "node:events";
import net from "node:net";
import { test } from "node:test";
import { adopt, dialer, type GateSocket, type Owner, own } from "./adopt.ts";

test("accepted and dialing sockets read into the same bytes, and a server counts them to their end", async (t) => {
  const buffers = new Set<ArrayBufferLike>();
  const texts: string[] = [];
  let ended = 0;
  const owner: Owner = {
    readFrom: (socket, bytes, size) => {
      buffers.add(bytes.buffer);
      texts.push(Buffer.from(bytes.subarray(0, size)).toString());
      if (texts.length === 1) socket.write("answer");
      else socket.end();
    },
    connected: () => undefined,
    blocked: () => undefined,
    drained: () => undefined,
    failed: (_socket, error) => assert.fail(error),
    ended: (socket) => {
      ended++;
      socket.end();
    },
    closed: () => undefined,
  };
  const server = net.createServer({ pauseOnConnect: true, allowHalfOpen: true }, (accepted) => {
    const socket: GateSocket | undefined = adopt(accepted);
    assert.ok(socket !== undefined, "this Node has the handle that `adopt` needs");
    assert.equal(adopt(accepted), undefined, "a handle is taken once");
    own(socket, owner);
    socket.resume();
  });
  t.after(() => server.close());
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const socket = dialer();
  own(socket, owner);
  const { port } = server.address() as net.AddressInfo;
  socket.connect({ host: "127.0.0.1", port, localAddress: "127.0.0.9" });
  socket.write("question");
  await once(socket, "close");
  assert.deepEqual(texts, ["question", "answer"]);
  assert.equal(buffers.size, 1);
  assert.equal(ended, 2);
  // Closing waits for every socket that the server counts: one that was lost would block it.
  server.close();
  await once(server, "close");
});
