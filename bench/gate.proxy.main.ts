/**
 * One of the two Node proxies that `gate.modbus.bench.ts` measures, as a process of its own:
 *   gate.proxy.main.ts gate                         a gate as the supervisor starts it: listeners on standard input
 *   gate.proxy.main.ts pipe PORT TARGET_PORT        the plainest proxy that Node can be, on loopback
 * On SIGUSR2 it collects its garbage and prints its resident memory.
 */
import net from "node:net";
import process from "node:process";
import { runGate } from "@sallyport/gate";

process.on("SIGUSR2", () => {
  const { gc } = globalThis;
  if (gc === undefined) throw new Error("start it with --expose-gc");
  gc();
  gc();
  process.stdout.write(`${JSON.stringify({ type: "memory", bytes: process.memoryUsage.rss() })}\n`);
});

function pipe(port: number, targetPort: number): void {
  const server = net.createServer((client) => {
    const device = net.connect({ host: "127.0.0.1", port: targetPort, localAddress: "127.0.0.3" });
    client.setNoDelay(true);
    device.setNoDelay(true);
    client.pipe(device);
    device.pipe(client);
    client.on("error", () => device.destroy());
    device.on("error", () => client.destroy());
  });
  server.listen(port, "127.0.0.1", () => process.stdout.write('{"type":"listening"}\n'));
}

const [mode, port, targetPort] = process.argv.slice(2);
if (mode === "pipe") pipe(Number(port), Number(targetPort));
else
  await runGate(process.stdin, process.stdout, {
    wallMs: () => Date.now(),
    nowMs: () => performance.now(),
  });
