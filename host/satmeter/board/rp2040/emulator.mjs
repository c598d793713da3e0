// A Raspberry Pi Pico on the host: node emulator.mjs '{"rom": ..., "firmware": ..., "serial": ..., "control": ...}'
//
// serial: a Unix socket with the bytes of the USB serial port. control: a Unix socket of JSON lines, a question and its
// answer each; lines with "event" come unasked (usb up and down). Emulated time is held to the time of the wall, and falls
// behind it only while the core has more to do than this machine can emulate.
import fs from 'node:fs';
import net from 'node:net';
import { createRequire } from 'node:module';
import { pathToFileURL } from 'node:url';

const config = JSON.parse(process.argv[2]);
// rp2040js lives with the image, not with this file.
const require = createRequire(config.modules + '/');
const entry = pathToFileURL(require.resolve('rp2040js')).href;
const { register } = await import('node:module');
register('data:text/javascript,' + encodeURIComponent(`
  export const resolve = (name, context, next) =>
    name === 'rp2040js' ? { url: ${JSON.stringify(entry)}, shortCircuit: true } : next(name, context);`));
const { Board, Chip } = await import('./chip.mjs');
const { Oled, St7789 } = await import('./displays.mjs');

const SLICE_MS = 8;
const EDGES_MOST = 200_000;

const firmware = fs.readFileSync(config.firmware);
const board = new Board({ rom: fs.readFileSync(config.rom), flash: firmware, spread: seeded(config.seed ?? 1) });
if (config.flash && fs.existsSync(config.flash)) board.flash.set(fs.readFileSync(config.flash));
for (const [pin, value] of Object.entries(config.inputs ?? {})) board.inputs[pin] = !!value;
const devices = { oled: new Oled(config.oled ?? 'ssd1306'), tft: new St7789(), dc: config.dc ?? 20 };

let chip, serial = null, control = null, unread = [], resetting = false, resets = 0, missing = false;
let first = null, sent = 0, received = 0;
let edges = [], wall = 0, emulated = 0;

/** A stream of numbers in [0, 1) that is the same for the same seed (mulberry32). */
function seeded(state) {
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
}

function boot() {
  unread = [];
  first = null;
  chip = new Chip(board, devices, {
    onReset: () => (resetting = true),
    onSerial: (bytes) => {
      first ??= chip.now;
      sent += bytes.length;
      serial ? serial.write(bytes) : unread.length < 65536 && unread.push(...bytes);
    },
    onConnected: () => tell({ event: 'usb', up: true }),
    onEdge: (pin, now, value) => edges.length < EDGES_MOST && edges.push([pin, now, value, resets]),
    watch: config.watch ?? [],
    missing: () => missing,
  });
  [wall, emulated] = [performance.now(), 0];
}

function reset() {
  resetting = false;
  resets++;
  tell({ event: 'usb', up: false });
  boot();
}

/** Run for a while, idle time as long as on the wall, then let node do the rest. */
function run() {
  const { core, clock } = chip.mcu;
  const end = performance.now() + SLICE_MS;
  const nanosEach = 1e9 / chip.mcu.clkSys;
  while (performance.now() < end) {
    for (let i = 0; i < 10_000; i++) {
      if (!core.waiting) {
        clock.tick(core.executeInstruction() * nanosEach);
      } else {
        const until = clock.nanosToNextAlarm || 1000;
        const room = (performance.now() - wall) * 1e6 - (clock.nanos - emulated);
        if (room > 50e6 + until) [wall, emulated] = [performance.now(), clock.nanos]; // too late to catch up
        else if (room < until) {
          if (room > 0) clock.tick(room);
          return setTimeout(run, 1);
        }
        clock.tick(until);
        i += 20;
      }
      if (resetting) {
        reset();
        return setImmediate(run);
      }
    }
  }
  setImmediate(run);
}

const answers = {
  adc: ({ channel, ...input }) => board.setAdc(channel, input, chip.now),
  input: ({ pin, value }) => chip.setInput(pin, value),
  wave: ({ pin, points }) => chip.wave(pin, points),
  pin: ({ pin }) => ({ value: chip.mcu.gpio[pin].value }),
  edges: () => ({ edges: edges.splice(0) }),
  picture: ({ display }) => ({ rows: display === 'st7789' ? devices.tft.picture() : devices.oled.picture() }),
  missing: ({ value }) => void (missing = value),
  hold: () => void (chip.held = chip.held ?? []),
  release: () => chip.release(),
  /** first: when this boot said its first byte; sent and received: bytes of the serial port, over all boots. */
  stat: () => ({ now: chip.now, resets, first, sent, received }),
  power: () => {
    // The power goes, and comes back: nothing in the chip is kept.
    board.scratch.fill(0);
    board.reason = 0;
    resetting = true;
  },
  save: ({ path }) => fs.writeFileSync(path, board.flash),
};
function tell(what) {
  control?.write(JSON.stringify(what) + '\n');
}

net
  .createServer((socket) => {
    serial = socket;
    if (unread.length) socket.write(Buffer.from(unread.splice(0)));
    socket.on('data', (bytes) => {
      received += bytes.length;
      chip.send(bytes);
    });
    socket.on('error', () => {});
    socket.on('close', () => serial === socket && (serial = null));
  })
  .listen(config.serial);
net
  .createServer((socket) => {
    control = socket;
    let text = '';
    socket.on('error', () => {});
    socket.on('close', () => process.exit(0)); // whoever started us is gone
    socket.on('data', (data) => {
      const lines = (text + data).split('\n');
      text = lines.pop();
      for (const line of lines) {
        const { op, ...rest } = JSON.parse(line);
        tell(answers[op](rest) ?? {});
      }
    });
  })
  .listen(config.control, () => console.log('ready'));
process.on('SIGTERM', () => process.exit(0));
boot();
run();
