/* A stub of the RP2040 boot ROM: vectors, function and data tables (datasheet 2.8), and BKPT hooks at which the emulator
 * erases (1) and programs (2) its flash. What is not here traps (0xfe; 0xfd: into USB boot). */
    .syntax unified
    .cpu cortex-m0plus
    .thumb
    .section .vec,"a"
    .word 0x20041f00
    .word rom_reset + 1
    .word rom_trap + 1
    .word rom_trap + 1
    .byte 'M','u',1,3
    .hword func_table
    .hword data_table
    .hword rom_lookup + 1
    .balign 4
.macro fn a, b, sym
    .byte \a, \b
    .hword \sym + 1
.endm
    .balign 4
func_table:
    fn 'P','3', rom_popcount
    fn 'R','3', rom_reverse
    fn 'L','3', rom_clz
    fn 'T','3', rom_ctz
    fn 'M','S', rom_memset
    fn 'S','4', rom_memset
    fn 'M','C', rom_memcpy
    fn 'C','4', rom_memcpy4
    fn 'U','B', rom_usbboot
    fn 'I','F', rom_nop
    fn 'E','X', rom_nop
    fn 'F','C', rom_nop
    fn 'C','X', rom_nop
    fn 'R','E', rom_erase
    fn 'R','P', rom_program
    .word 0
data_table:
    .byte 'S','F'
    .hword sf_tab
    .byte 'C','R'
    .hword copyr
    .byte 'G','R'
    .hword gitrev
    .word 0
copyr: .asciz "stub rom"
    .balign 4
gitrev: .word 0x00000001
    .byte 0,0
    .byte 32, 0     /* table-2: size in words */
sf_tab:
    .word __aeabi_fadd
    .word __aeabi_fsub
    .word __aeabi_fmul
    .word __aeabi_fdiv
    .word rom_trap + 1
    .word rom_trap + 1
    .word rom_trap + 1
    .word rom_f2i_floor
    .word rom_f2fix
    .word rom_f2u
    .word rom_f2ufix
    .word __aeabi_i2f
    .word rom_fix2f
    .word __aeabi_ui2f
    .word rom_ufix2f
    .word rom_trap + 1, rom_trap + 1, rom_trap + 1, rom_trap + 1, rom_trap + 1, rom_trap + 1
    .word rom_trap + 1, rom_trap + 1
    .word __aeabi_l2f
    .word rom_trap + 1
    .word __aeabi_ul2f
    .word rom_trap + 1
    .word rom_f2l_floor
    .word rom_trap + 1
    .word __aeabi_f2ulz
    .word rom_trap + 1
    .word __aeabi_f2d

    .text
    .thumb_func
rom_reset:
    ldr r0, =0x10000100
    ldr r1, [r0]
    msr msp, r1
    ldr r1, [r0, #4]
    ldr r2, =0xe000ed08
    str r0, [r2]
    bx r1
    .thumb_func
rom_trap:
    bkpt #0xfe
    b rom_trap
    .thumb_func
rom_usbboot:
    bkpt #0xfd
    b rom_usbboot
    .thumb_func
rom_nop:
    bx lr
    .thumb_func
rom_erase:
    bkpt #0x01
    bx lr
    .thumb_func
rom_program:
    bkpt #0x02
    bx lr
    .pool
