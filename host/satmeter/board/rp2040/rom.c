/* What MicroPython calls in the RP2040's boot ROM, in C: the table lookup, bit and memory functions, and those float
 * conversions that libgcc has not. rom.S holds the tables. After the RP2040 datasheet, section 2.8. */
#include <stdint.h>

void *rom_lookup(uint16_t *table, uint32_t code) {
    for (; *table; table += 2)
        if (*table == (uint16_t)code) return (void *)(uintptr_t)table[1];
    return 0;
}

uint32_t rom_popcount(uint32_t v) {
    uint32_t n = 0;
    for (; v; v &= v - 1) n++;
    return n;
}

uint32_t rom_reverse(uint32_t v) {
    uint32_t r = 0;
    for (int i = 0; i < 32; i++, v >>= 1) r = (r << 1) | (v & 1);
    return r;
}

uint32_t rom_clz(uint32_t v) {
    uint32_t n = 0;
    if (!v) return 32;
    for (; !(v & 0x80000000u); v <<= 1) n++;
    return n;
}

uint32_t rom_ctz(uint32_t v) {
    uint32_t n = 0;
    if (!v) return 32;
    for (; !(v & 1); v >>= 1) n++;
    return n;
}

void *rom_memset(uint8_t *d, uint8_t c, uint32_t n) {
    uint8_t *p = d;
    uint32_t word = c * 0x01010101u;
    while (n && ((uintptr_t)p & 3)) *p++ = c, n--;
    for (; n >= 4; n -= 4, p += 4) *(uint32_t *)p = word;
    while (n--) *p++ = c;
    return d;
}

void *rom_memcpy(uint8_t *d, const uint8_t *s, uint32_t n) {
    uint8_t *p = d;
    if ((((uintptr_t)p ^ (uintptr_t)s) & 3) == 0) {
        while (n && ((uintptr_t)p & 3)) *p++ = *s++, n--;
        for (; n >= 4; n -= 4, p += 4, s += 4) *(uint32_t *)p = *(const uint32_t *)s;
    }
    while (n--) *p++ = *s++;
    return d;
}

void *rom_memcpy4(uint8_t *d, const uint8_t *s, uint32_t n) { return rom_memcpy(d, s, n); }

static int64_t floor64(float f) {
    int64_t v = (int64_t)f;
    return (float)v > f ? v - 1 : v;
}

int32_t rom_f2i_floor(float f) {
    if (f >= 2147483648.0f) return 0x7fffffff;
    if (f < -2147483648.0f) return (int32_t)0x80000000;
    return (int32_t)floor64(f);
}

int64_t rom_f2l_floor(float f) {
    if (f >= 9223372036854775808.0f) return 0x7fffffffffffffffLL;
    if (f < -9223372036854775808.0f) return (int64_t)0x8000000000000000ULL;
    return floor64(f);
}

uint32_t rom_f2u(float f) {
    if (f <= 0) return 0;
    return f >= 4294967296.0f ? 0xffffffffu : (uint32_t)f;
}

static float scale(float f, int n) {
    for (; n > 0; n--) f *= 2;
    for (; n < 0; n++) f *= 0.5f;
    return f;
}

int32_t rom_f2fix(float f, int n) { return rom_f2i_floor(scale(f, n)); }
uint32_t rom_f2ufix(float f, int n) { return rom_f2u(scale(f, n)); }
float rom_fix2f(int32_t v, int n) { return scale((float)v, -n); }
float rom_ufix2f(uint32_t v, int n) { return scale((float)v, -n); }
