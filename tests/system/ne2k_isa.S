# SPDX-License-Identifier: BSD-3-Clause
# ne2k_isa.S - a boot sector that asks 10.0.2.2 for its address by ARP, through an NE2000 at 0x300,
# and has Bochs end when the answer has come.
#
# No operating system of today drives the ISA card. Registers: National Semiconductor DP8390D data
# sheet; the card's memory is at 0x4000 to 0x7fff, in pages of 256 bytes.
  .code16
  .globl _start

  .set BASE, 0x300
  .set COMMAND, BASE
  .set DATA, BASE + 0x10
  .set SEND_PAGE, 0x40
  .set FIRST_PAGE, 0x46
  .set END_PAGE, 0x80
  .set LENGTH, 60

  .macro put register, value
  mov $(BASE + \register), %dx
  mov $(\value), %al
  out %al, %dx
  .endm

_start:
  xor %ax, %ax
  mov %ax, %ds
  mov %ax, %es
  mov %ax, %ss
  mov $0x7c00, %sp
  cld

  put 0x00, 0x21         # stop, page 0
  put 0x0e, 0x49         # words, no loopback
  put 0x0a, 0
  put 0x0b, 0
  put 0x0c, 0x04         # broadcasts, and what is for us
  put 0x0d, 0x02         # loopback while it is set up
  put 0x01, FIRST_PAGE
  put 0x02, END_PAGE
  put 0x03, FIRST_PAGE
  put 0x07, 0xff         # no event yet
  put 0x0f, 0            # no interrupts
  put 0x00, 0x61         # page 1
  mov $mac, %si
  mov $(BASE + 1), %dx
  mov $6, %cx
1:
  lodsb
  out %al, %dx
  inc %dx
  loop 1b
  put 0x07, FIRST_PAGE + 1
  put 0x00, 0x22         # start, page 0
  put 0x0d, 0

ask:
  put 0x07, 0xff
  put 0x08, 0
  put 0x09, SEND_PAGE
  put 0x0a, LENGTH
  put 0x0b, 0
  put 0x00, 0x12         # write to its memory
  mov $question, %si
  mov $(LENGTH / 2), %cx
  mov $DATA, %dx
  rep outsw
  put 0x04, SEND_PAGE
  put 0x05, LENGTH
  put 0x06, 0
  put 0x00, 0x26         # send

  mov $100, %bx          # some guest's milliseconds, then once more
wait:
  mov $20000, %cx
2:
  mov $(BASE + 7), %dx
  in %dx, %al
  test $1, %al           # received
  jnz received
  loop 2b
  dec %bx
  jnz wait
  jmp ask

received:
  put 0x08, 0
  put 0x09, FIRST_PAGE + 1
  put 0x0a, 4 + 42
  put 0x0b, 0
  put 0x00, 0x0a         # read its memory
  mov $answer, %di
  mov $((4 + 42) / 2), %cx
  mov $DATA, %dx
  rep insw
  cmpw $0x0608, answer + 4 + 12  # ARP
  jne stuck
  cmpw $0x0200, answer + 4 + 20  # a reply
  jne stuck
  cmpl $0x0202000a, answer + 4 + 28  # by 10.0.2.2
  jne stuck
  mov $goodbye, %si
  mov $8, %cx
  mov $0x8900, %dx
  rep outsb
stuck:
  hlt
  jmp stuck

goodbye:
  .ascii "Shutdown"
question:
  .byte 0xff, 0xff, 0xff, 0xff, 0xff, 0xff
mac:
  .byte 0x52, 0x54, 0, 0x12, 0x34, 0x56
  .byte 8, 6, 0, 1, 8, 0, 6, 4, 0, 1
  .byte 0x52, 0x54, 0, 0x12, 0x34, 0x56, 10, 0, 2, 15
  .byte 0, 0, 0, 0, 0, 0, 10, 0, 2, 2
  .fill LENGTH - (. - question)

  .org 510
  .word 0xaa55
  .set answer, 0x8000
