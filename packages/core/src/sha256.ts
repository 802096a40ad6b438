/**
 * SHA-256 (FIPS 180-4 §6.2), for packages that touch nothing and so have no `node:crypto`. It names
 * things (policy bytes, a conduit's legs); nothing secret goes through it, and signatures don't.
 */

// Words are signed here, as JavaScript's bit operators have them; sums wrap the same way.

/** §4.2.2: first 32 bits of the fractional parts of the cube roots of the first 64 primes. */
const K = new Int32Array(64);
/** §5.3.3: the same of the square roots of the first 8 primes. */
const INITIAL = new Int32Array(8);
for (let candidate = 2, count = 0; count < 64; candidate++) {
  if (!isPrime(candidate)) continue;
  K[count] = fraction(Math.cbrt(candidate));
  if (count < 8) INITIAL[count] = fraction(Math.sqrt(candidate));
  count++;
}

function isPrime(number: number): boolean {
  for (let divisor = 2; divisor * divisor <= number; divisor++) {
    if (number % divisor === 0) return false;
  }
  return true;
}

function fraction(root: number): number {
  return Math.floor((root - Math.floor(root)) * 2 ** 32);
}

const BLOCK_BYTES = 64;

/** Used by one call at a time, since none waits; made once, because making them costs more than a block. */
const STATE = new Int32Array(8);
const SCHEDULE = new Int32Array(64);
const TAIL = new Uint8Array(2 * BLOCK_BYTES);
const TAIL_VIEW = new DataView(TAIL.buffer);

/** Lower-case hex of the digest. Messages up to 2^53 bits. */
export function sha256Hex(message: Uint8Array): string {
  STATE.set(INITIAL);
  const whole = message.length - (message.length % BLOCK_BYTES);
  for (let offset = 0; offset < whole; offset += BLOCK_BYTES) {
    compress(STATE, SCHEDULE, message, offset);
  }
  // §5.1.1: a 1 bit, zeros, and the length in bits as 64-bit big-endian.
  const rest = message.length - whole;
  const tailBytes = rest + 9 <= BLOCK_BYTES ? BLOCK_BYTES : 2 * BLOCK_BYTES;
  TAIL.fill(0);
  for (let at = 0; at < rest; at++) TAIL[at] = message[whole + at] ?? 0;
  TAIL[rest] = 0x80;
  TAIL_VIEW.setUint32(tailBytes - 8, Math.floor(message.length / 2 ** 29));
  TAIL_VIEW.setUint32(tailBytes - 4, (message.length * 8) >>> 0);
  for (let offset = 0; offset < tailBytes; offset += BLOCK_BYTES) {
    compress(STATE, SCHEDULE, TAIL, offset);
  }
  let hex = "";
  for (let at = 0; at < 8; at++) {
    hex += (((STATE[at] ?? 0) >>> 0) + 2 ** 32).toString(16).slice(1);
  }
  return hex;
}

/** SHA-256 of a text's UTF-8 bytes. */
export function sha256HexOfText(text: string): string {
  return sha256Hex(new TextEncoder().encode(text));
}

function rotate(word: number, bits: number): number {
  return (word >>> bits) | (word << (32 - bits));
}

/** §6.2.2, one block. `?? 0` never happens: every index is inside its array. */
function compress(state: Int32Array, w: Int32Array, bytes: Uint8Array, offset: number): void {
  for (let t = 0, at = offset; t < 16; t++, at += 4) {
    const high = ((bytes[at] ?? 0) << 24) | ((bytes[at + 1] ?? 0) << 16);
    w[t] = high | ((bytes[at + 2] ?? 0) << 8) | (bytes[at + 3] ?? 0);
  }
  for (let t = 16; t < 64; t++) {
    const w15 = w[t - 15] ?? 0;
    const w2 = w[t - 2] ?? 0;
    const s0 = rotate(w15, 7) ^ rotate(w15, 18) ^ (w15 >>> 3);
    const s1 = rotate(w2, 17) ^ rotate(w2, 19) ^ (w2 >>> 10);
    w[t] = ((w[t - 16] ?? 0) + s0 + (w[t - 7] ?? 0) + s1) | 0;
  }
  let a = state[0] ?? 0;
  let b = state[1] ?? 0;
  let c = state[2] ?? 0;
  let d = state[3] ?? 0;
  let e = state[4] ?? 0;
  let f = state[5] ?? 0;
  let g = state[6] ?? 0;
  let h = state[7] ?? 0;
  for (let t = 0; t < 64; t++) {
    const big1 = rotate(e, 6) ^ rotate(e, 11) ^ rotate(e, 25);
    const t1 = (h + big1 + ((e & f) ^ (~e & g)) + (K[t] ?? 0) + (w[t] ?? 0)) | 0;
    const big0 = rotate(a, 2) ^ rotate(a, 13) ^ rotate(a, 22);
    const t2 = (big0 + ((a & b) ^ (a & c) ^ (b & c))) | 0;
    h = g;
    g = f;
    f = e;
    e = (d + t1) | 0;
    d = c;
    c = b;
    b = a;
    a = (t1 + t2) | 0;
  }
  state[0] = ((state[0] ?? 0) + a) | 0;
  state[1] = ((state[1] ?? 0) + b) | 0;
  state[2] = ((state[2] ?? 0) + c) | 0;
  state[3] = ((state[3] ?? 0) + d) | 0;
  state[4] = ((state[4] ?? 0) + e) | 0;
  state[5] = ((state[5] ?? 0) + f) | 0;
  state[6] = ((state[6] ?? 0) + g) | 0;
  state[7] = ((state[7] ?? 0) + h) | 0;
}
