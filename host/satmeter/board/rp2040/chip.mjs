// An RP2040 as rp2040js has it, with what it lacks: a boot ROM that can write flash, bus time, noise on the ADC, a random
// ROSC, a watchdog whose scratch registers outlive its reset, and USB that a host may leave unread.
import { ConsoleLogger, LogLevel, RP2040, USBCDC } from 'rp2040js';

const FLASH = 2 * 1024 * 1024;
const ERASE = 1, PROGRAM = 2; // the BKPT numbers of rom.S
const ROSC = 0x40060, WATCHDOG = 0x40058;
const RANDOMBIT = 0x1c;
const SPI_DUMMY = 0;

/** What outlives a reset: flash, inputs, the watchdog's memory. */
export class Board {
  constructor({ rom, flash, spread = Math.random }) {
    this.rom = rom;
    this.flash = new Uint8Array(FLASH).fill(0xff);
    this.flash.set(flash);
    this.spread = spread;
    this.inputs = {};
    this.adc = [0, 0, 0, 0].map(() => ({ value: 0, noise: 0, profile: null }));
    this.scratch = new Uint32Array(8);
    this.reason = 0;
  }

  /** Set an analog input; profile: [[ms from now, value], ...], lines between its points, instead of a value. */
  setAdc(channel, { value = 0, noise = 0, profile = null }, now) {
    this.adc[channel] = { value, noise, profile: profile && profile.map(([ms, v]) => [now + ms, v]) };
  }

  readAdc(channel, now) {
    const input = this.adc[channel];
    if (!input) return 876; // the temperature sensor at 27 degrees
    const level = input.profile ? along(input.profile, now) : input.value;
    const noise = input.noise * Math.sqrt(-2 * Math.log(1 - this.spread())) * Math.cos(2 * Math.PI * this.spread());
    return Math.max(0, Math.min(4095, Math.round(level + noise)));
  }
}

function along(profile, now) {
  if (now <= profile[0][0]) return profile[0][1];
  for (let i = 1; i < profile.length; i++) {
    const [[a, v], [b, w]] = [profile[i - 1], profile[i]];
    if (now < b) return v + ((w - v) * (now - a)) / (b - a);
  }
  return profile.at(-1)[1];
}

/** One life of the chip, from a reset to the next. */
export class Chip {
  /** devices: { oled, tft, dc } as of displays.mjs and the pin that tells the tft data from commands. */
  constructor(board, devices, { onReset, onSerial, onConnected, onEdge, watch, missing }) {
    this.board = board;
    const mcu = (this.mcu = new RP2040());
    mcu.logger = new ConsoleLogger(LogLevel.Error, false);
    const rom = new Uint32Array(4096);
    new Uint8Array(rom.buffer).set(board.rom);
    mcu.loadBootrom(rom);
    mcu.flash.set(board.flash);
    for (const [pin, value] of Object.entries(board.inputs)) mcu.gpio[pin].setInputValue(value);
    for (const pin of watch) mcu.gpio[pin].addListener(() => onEdge(pin, this.now, mcu.gpio[pin].value));
    this.#flash();
    this.#watchdog(onReset);
    this.#adc();
    for (const bus of mcu.i2c) this.#i2c(bus, devices.oled, missing);
    for (const bus of mcu.spi) this.#spi(bus, devices.tft, devices.dc);
    this.#rosc();
    this.#usb(onSerial, onConnected);
    mcu.core.VTOR = 0x10000100;
    mcu.core.SP = mcu.readUint32(0x10000100);
    mcu.core.PC = mcu.readUint32(0x10000104) & ~1;
  }

  /** Emulated milliseconds since this reset. */
  get now() {
    return this.mcu.clock.nanos / 1e6;
  }

  setInput(pin, value) {
    this.board.inputs[pin] = !!value;
    this.mcu.gpio[pin].setInputValue(!!value);
  }

  /** Drive an input along [[ms from now, level], ...]. */
  wave(pin, points) {
    for (const [ms, level] of points) {
      this.mcu.clock.createAlarm(() => this.setInput(pin, level)).schedule(ms * 1e6);
    }
  }

  #flash() {
    const { mcu, board } = this;
    mcu.onBreak = (code) => {
      const r = mcu.core.registers;
      if (code === ERASE) mcu.flash.fill(0xff, r[0], r[0] + r[1]);
      else if (code === PROGRAM) for (let i = 0; i < r[2]; i++) mcu.flash[r[0] + i] &= mcu.readUint8(r[1] + i);
      else throw new Error(`the ROM stub has no function for this (break ${code}, from ${mcu.core.LR.toString(16)})`);
      board.flash.set(mcu.flash.subarray(0, FLASH));
    };
  }

  #watchdog(onReset) {
    const dog = this.mcu.peripherals[WATCHDOG];
    dog.scratchData.set(this.board.scratch);
    dog.reason = this.board.reason;
    dog.onWatchdogTrigger = () => {
      dog.alarm.enable = false; // it would fire again and again within one step
      this.board.scratch.set(dog.scratchData);
      this.board.reason = dog.reason;
      onReset();
    };
  }

  #adc() {
    const { adc } = this.mcu;
    const done = this.mcu.clock.createAlarm(() =>
      adc.completeADCRead(this.board.readAdc(adc.currentChannel, this.now), false),
    );
    adc.onADCRead = (channel) => {
      adc.currentChannel = channel;
      done.schedule(adc.sampleTime * 1000);
    };
  }

  #i2c(bus, oled, missing) {
    let bytes = [], hit = false;
    const nanos = () => (9e9 * (bus.sclHighPeriod + bus.sclLowPeriod)) / this.mcu.clkSys;
    const connected = this.mcu.clock.createAlarm(() => bus.completeConnect(hit));
    const written = this.mcu.clock.createAlarm(() => bus.completeWrite(true));
    bus.onConnect = (address) => {
      hit = !missing() && address === 0x3c;
      bytes = [];
      connected.schedule(nanos());
    };
    bus.onWriteByte = (value) => {
      bytes.push(value);
      written.schedule(nanos());
    };
    bus.onReadByte = () => bus.completeRead(0);
    bus.onStop = () => {
      if (hit && bytes.length) oled.write(bytes);
      [bytes, hit] = [[], false];
      bus.completeStop();
    };
  }

  #spi(bus, tft, dc) {
    const sent = this.mcu.clock.createAlarm(() => bus.completeTransmit(SPI_DUMMY));
    bus.onTransmit = (value) => {
      tft.write(value, this.mcu.gpio[dc].value === 1);
      sent.schedule((bus.dataBits * 1e9) / bus.clockFrequency);
    };
  }

  #rosc() {
    const rosc = this.mcu.peripherals[ROSC];
    const read = rosc.readUint32.bind(rosc);
    rosc.readUint32 = (offset) => (offset === RANDOMBIT ? +(Math.random() < 0.5) : read(offset));
  }

  #usb(onSerial, onConnected) {
    const usb = this.mcu.usbCtrl;
    const cdc = (this.cdc = new USBCDC(usb));
    this.held = null;
    this.waiting = [];
    this.wanted = null;
    const ready = usb.indicateBufferReady.bind(usb);
    usb.indicateBufferReady = (endpoint, out) => {
      if (this.held && endpoint === cdc.inEndpoint && !out) this.held.push([endpoint, out]);
      else ready(endpoint, out);
    };
    this.release = () => {
      const held = this.held ?? [];
      this.held = null;
      for (const [endpoint, out] of held) ready(endpoint, out);
    };
    // The host takes its time with OUT transfers until it has bytes, so that an idle core can sleep.
    usb.onEndpointRead = (endpoint, size) => {
      if (endpoint !== cdc.outEndpoint) return;
      this.wanted = size;
      this.feed();
    };
    cdc.onSerialData = onSerial;
    cdc.onDeviceConnected = onConnected;
  }

  /** Queue bytes from the host. */
  send(bytes) {
    for (const b of bytes) this.waiting.push(b);
    this.feed();
  }

  feed() {
    if (this.wanted === null || !this.waiting.length || !this.cdc.initialized) return;
    const bytes = Uint8Array.from(this.waiting.splice(0, this.wanted));
    this.wanted = null;
    this.mcu.usbCtrl.endpointReadDone(this.cdc.outEndpoint, bytes);
  }
}
