import assert from "node:assert/strict";
import fs from "node:fs";
import net from "node:net";
import os from "node:os";
import path from "node:path";
import { test } from "node:test";
import { askLine, serveLines } from "./line-socket.ts";

async function withServer(
  handler: (line: string, connection: number) => Promise<string>,
  use: (socketPath: string) => Promise<void>,
): Promise<void> {
  const directory = fs.mkdtempSync(path.join(os.tmpdir(), "sallyport-line-"));
  const socketPath = path.join(directory, "root", "enforcer.sock");
  const server = await serveLines(socketPath, handler);
  try {
    await use(socketPath);
  } finally {
    server.close();
    fs.rmSync(directory, { recursive: true });
  }
}

test("only its owner can enter the directory of the socket", async () => {
  await withServer(
    async (line) => line,
    async (socketPath) => {
      assert.equal(fs.statSync(path.dirname(socketPath)).mode & 0o777, 0o700);
    },
  );
});

test("answers each line in order, and a new question comes over a new connection", async () => {
  await withServer(
    async (line, connection) => `${line} on ${connection}`,
    async (socketPath) => {
      assert.equal(await askLine(socketPath, "first"), "first on 1");
      assert.equal(await askLine(socketPath, "second"), "second on 2");
    },
  );
});

test("lines that arrive in pieces or several at once are told apart", async () => {
  await withServer(
    async (line) => line.toUpperCase(),
    async (socketPath) => {
      const socket = net.connect(socketPath);
      const answers: string[] = [];
      socket.on("data", (chunk) => answers.push(chunk.toString()));
      socket.write("on");
      socket.write("e\ntwo\nthr");
      socket.write("ee\n");
      while (answers.join("") !== "ONE\nTWO\nTHREE\n") {
        await new Promise((resolve) => socket.once("data", resolve));
      }
      socket.destroy();
    },
  );
});
