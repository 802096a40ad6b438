// Whoever took over `control`: started with its uid, it says whatever it likes on its socket.
// argv: socket, then messages as JSON; prints each answer, or why there is none.
import net from "node:net";
import process from "node:process";

const [socketPath = "", ...messages] = process.argv.slice(2);
for (const message of messages) {
  const answer = await new Promise((resolve) => {
    const socket = net.connect(socketPath);
    let text = "";
    socket.setTimeout(30_000, () => socket.destroy());
    socket.on("error", (error) =>
      resolve(JSON.stringify({ ok: false, error: { code: error.code } })),
    );
    socket.on("data", (chunk) => {
      text += chunk.toString("utf8");
      if (text.endsWith("\n")) socket.destroy();
    });
    socket.on("close", () => resolve(text.trim()));
    socket.write(`${message}\n`);
  });
  process.stdout.write(`${answer}\n`);
}
