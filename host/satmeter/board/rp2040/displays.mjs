// Displays as devices on a bus: what the firmware sends them, they keep as pixels that a test can read.

/** SSD1306 (128x64), SH1106 (132x64, of which 128 are seen from column 2) and SH1107 (128x128) on I2C. */
export class Oled {
  static SIZES = { ssd1306: [128, 64, 0], sh1106: [132, 64, 2], sh1107: [128, 128, 0] };
  /** Commands that take parameters, and how many. */
  static LONG = {
    ssd1306: { 0x20: 1, 0x21: 2, 0x22: 2, 0x81: 1, 0x8d: 1, 0xa8: 1, 0xd3: 1, 0xd5: 1, 0xd9: 1, 0xda: 1, 0xdb: 1 },
    sh1106: { 0x81: 1, 0xa8: 1, 0xad: 1, 0xd3: 1, 0xd5: 1, 0xd9: 1, 0xda: 1, 0xdb: 1 },
    sh1107: { 0x81: 1, 0xa8: 1, 0xad: 1, 0xd3: 1, 0xd5: 1, 0xd9: 1, 0xda: 1, 0xdb: 1, 0xdc: 1 },
  };

  constructor(type) {
    this.type = type;
    [this.width, this.height, this.first] = Oled.SIZES[type];
    this.ram = new Uint8Array((this.width * this.height) / 8);
    this.on = this.mirrored = this.flipped = this.inverted = false;
    this.horizontal = false;
    this.contrast = 0;
    this.column = this.page = 0;
    this.columns = [0, this.width - 1];
    this.pages = [0, this.height / 8 - 1];
    this.command = [];
  }

  /** One I2C transaction, without the address. */
  write(bytes) {
    for (let i = 0; i < bytes.length; ) {
      const control = bytes[i++];
      const end = control & 0x80 ? i + 1 : bytes.length;
      for (; i < end; i++) control & 0x40 ? this.#data(bytes[i]) : this.#command(bytes[i]);
    }
  }

  #command(byte) {
    this.command.push(byte);
    const [op, a, b] = this.command;
    if (this.command.length <= (Oled.LONG[this.type][op] ?? 0)) return;
    this.command = [];
    if (op <= 0x0f) this.column = (this.column & 0xf0) | op;
    else if (op <= 0x1f) this.column = (this.column & 0x0f) | ((op & 0x0f) << 4);
    else if (op === 0x20 && this.type === 'ssd1306') this.horizontal = a === 0;
    else if (op === 0x21 && this.type === 'ssd1306') [this.columns, this.column] = [[a, b], a];
    else if (op === 0x22 && this.type === 'ssd1306') [this.pages, this.page] = [[a, b], a];
    else if (op === 0x81) this.contrast = a;
    else if ((op & 0xfe) === 0xa0) this.mirrored = !!(op & 1);
    else if ((op & 0xfe) === 0xa6) this.inverted = !!(op & 1);
    else if ((op & 0xfe) === 0xae) this.on = !!(op & 1);
    else if (op >= 0xb0 && op <= 0xbf) this.page = op & 0x0f;
    else if ((op & 0xf0) === 0xc0) this.flipped = !!(op & 8);
  }

  #data(byte) {
    if (this.page < this.height / 8 && this.column < this.width) this.ram[this.page * this.width + this.column] = byte;
    this.column++;
    if (this.horizontal && this.column > this.columns[1]) {
      this.column = this.columns[0];
      this.page = this.page >= this.pages[1] ? this.pages[0] : this.page + 1;
    }
  }

  /** Rows of 0 and 1 as a person sees them, the module standing as its maker wires it (segment remap and flip on). */
  picture() {
    const seen = this.type === 'sh1106' ? 128 : this.width;
    const upright = this.type === 'sh1107' ? [false, false] : [true, true];
    const rows = [];
    for (let y = 0; y < this.height; y++) {
      let row = '';
      for (let x = 0; x < seen; x++) {
        const column = this.first + (this.mirrored === upright[0] ? x : seen - 1 - x);
        const line = this.flipped === upright[1] ? y : this.height - 1 - y;
        const bit = (this.ram[(line >> 3) * this.width + column] >> (line & 7)) & 1;
        row += this.on && bit !== +this.inverted ? '1' : '0';
      }
      rows.push(row);
    }
    return rows;
  }
}

/** ST7789, 240x240 of its 240x320 pixels of 16 bits, on SPI with a data/command pin. */
export class St7789 {
  constructor() {
    this.ram = new Uint16Array(240 * 320);
    this.on = this.awake = this.inverted = false;
    this.madctl = 0;
    this.columns = [0, 239];
    this.rows = [0, 319];
    this.op = 0;
    this.given = [];
    this.high = -1;
  }

  write(byte, isData) {
    if (!isData) {
      this.op = byte;
      this.given = [];
      this.high = -1;
      if (byte === 0x29) this.on = true;
      else if (byte === 0x28) this.on = false;
      else if (byte === 0x11) this.awake = true;
      else if (byte === 0x10) this.awake = false;
      else if (byte === 0x20 || byte === 0x21) this.inverted = byte === 0x21;
      else if (byte === 0x2c) [this.x, this.y] = [this.columns[0], this.rows[0]];
      return;
    }
    if (this.op === 0x2c) return this.#pixel(byte);
    this.given.push(byte);
    const g = this.given;
    if (this.op === 0x36) this.madctl = byte;
    else if (this.op === 0x2a && g.length === 4) this.columns = [(g[0] << 8) | g[1], (g[2] << 8) | g[3]];
    else if (this.op === 0x2b && g.length === 4) this.rows = [(g[0] << 8) | g[1], (g[2] << 8) | g[3]];
  }

  #pixel(byte) {
    if (this.high < 0) {
      this.high = byte;
      return;
    }
    // MADCTL: 0x80 rows, 0x40 columns from the far end, 0x20 rows and columns exchanged.
    let [x, y] = this.madctl & 0x20 ? [this.y, this.x] : [this.x, this.y];
    if (this.madctl & 0x40) x = 239 - x;
    if (this.madctl & 0x80) y = 319 - y;
    if (x >= 0 && x < 240 && y >= 0 && y < 320) this.ram[y * 240 + x] = (this.high << 8) | byte;
    this.high = -1;
    if (++this.x > this.columns[1]) {
      this.x = this.columns[0];
      if (++this.y > this.rows[1]) this.y = this.rows[0];
    }
  }

  /** Rows of 0 and 1 (dark and light); the panel of these modules wants inversion on to show colours as sent. */
  picture() {
    const rows = [];
    for (let y = 0; y < 240; y++) {
      let row = '';
      for (let x = 0; x < 240; x++) {
        const v = this.ram[y * 240 + x];
        const light = ((v >> 11) & 31) * 2 + ((v >> 5) & 63) + (v & 31) * 2 > 94;
        row += this.on && this.awake && light === this.inverted ? '1' : '0';
      }
      rows.push(row);
    }
    return rows;
  }
}
