/* SPDX-License-Identifier: Apache-2.0 */
/* QEMU's mps2-an386: Cortex-M4 at 25 MHz. UART0 is the link, UART1 the plant (plant.h), the CMSDK
 * watchdog resets after two times 200 ms, CMSDK timer 0 runs free.
 *
 * Nonces: the board has no noise source. Their seed is the count of resets and the free-running
 * timer; with the count of nonces and the time of each they do not repeat, and without the link's
 * key nobody can compute them. That resists replay; it does not resist someone who knows the key.
 */
#include <string.h>

#include "board.h"
#include "cortex_m.h"
#include "edgeguard/flow.h"
#include "mcu.h"
#include "plant.h"

#define TIMER0 0x40000000u
#define TIMER1 0x40001000u
#define DUAL_TIMER 0x40002000u
#define UART0 0x40004000u
#define UART1 0x40005000u
#define WATCHDOG 0x40008000u

#define TICKS_PER_US 25u
#define WATCHDOG_TICKS (200000u * TICKS_PER_US) /* twice that, then reset */
#define SENSED_US 50000u /* what the plant said longer ago is no measurement */

#define NVIC_ENABLE 0xE000E100u
#define NVIC_CLEAR 0xE000E280u
#define AWAKE 0x205u /* UART0 and UART1 receive, timer 1 */

#define DATA(uart) EG_REG((uart) + 0x0u)
#define STATE(uart) EG_REG((uart) + 0x4u)
#define ATTENTION(uart) EG_REG((uart) + 0xCu)
#define TX_FULL 1u
#define RX_FULL 2u
#define LOOK 16u /* bytes that one look takes in at most */

extern uint8_t eg_image_start[], eg_image_bytes[], eg_stack_limit[], eg_ram_words[];
extern const eg_seal_t eg_seal;
extern const eg_mcu_config_t eg_mcu_config;

static eg_record_t record;
static eg_record_t saved[EG_SAVES] __attribute__((section(".noinit")));
static eg_ring_t rx, tx;
static eg_plant_t plant;
static uint32_t wake_us;         /* what timer 1 is set for */
static uint32_t ticks, part, us; /* of the timer: last value, not yet a microsecond, microseconds */
static uint32_t turn_us;         /* when the sensors were read: what the turn's rates count from */

/* The actuators: reload registers of timers that nobody starts, as PWM compare registers would be.
 */
static volatile uint32_t *const actuator[EG_OUTPUTS] = {&EG_REG(DUAL_TIMER + 0x18u),
                                                        &EG_REG(DUAL_TIMER + 0x38u)};

static void start_uart(uint32_t uart) {
  EG_REG(uart + 0x10u) = 16u; /* divider; QEMU has no baud rate */
  EG_REG(uart + 0x8u) = 0xBu; /* transmit, receive, and ask for attention when a byte is there */
}

void board_init(uint8_t entropy[EG_ENTROPY_BYTES]) {
  EG_REG(TIMER0 + 0x8u) = 0xFFFFFFFFu; /* reload: runs down from there for ever */
  EG_REG(TIMER0 + 0x0u) = 1u;
  EG_REG(TIMER1 + 0x8u) = 0xFFFFFFFFu;
  EG_REG(TIMER1 + 0x0u) = 9u;              /* counts down, and asks for attention at 0 */
  EG_REG(WATCHDOG + 0xC00u) = 0x1ACCE551u; /* unlock */
  EG_REG(WATCHDOG + 0x0u) = WATCHDOG_TICKS;
  EG_REG(WATCHDOG + 0x8u) = 3u; /* interrupt, then reset */
  start_uart(UART0);
  start_uart(UART1);
  __asm volatile("cpsid i");
  EG_REG(NVIC_ENABLE) = AWAKE;
  uint32_t seed[4] = {saved[0].crc, saved[1].crc, EG_REG(TIMER0 + 0x4u), EG_REG(0x40028014u)};
  memcpy(entropy, seed, sizeof seed);
}

const eg_memory_t *board_memory(void) {
  static const eg_memory_t memory = {.config = &eg_mcu_config,
                                     .image = eg_image_start,
                                     .image_bytes = (uint32_t)eg_image_bytes,
                                     .seal = &eg_seal,
                                     .ram = (volatile uint32_t *)0x20000000u,
                                     .ram_words = (uint32_t)eg_ram_words,
                                     .canary = (volatile uint32_t *)eg_stack_limit,
                                     .canary_words = 4u,
                                     .record = &record,
                                     .saved = saved};
  return &memory;
}

/* Some of what is there: the line has no baud rate, and the next byte is there at once. */
static void receive(void) {
  for (uint32_t i = 0; i < LOOK && (STATE(UART0) & RX_FULL) && eg_ring_used(&rx) < EG_RING; i++) {
    eg_ring_put(&rx, (uint8_t)DATA(UART0));
    ATTENTION(UART0) = RX_FULL;
  }
  for (uint32_t i = 0; (STATE(UART1) & RX_FULL) && i < EG_PLANT_FRAME; i++) {
    eg_plant_byte(&plant, (uint8_t)DATA(UART1), us);
    ATTENTION(UART1) = RX_FULL;
  }
}

/* As far as it goes without waiting. */
static void transmit(void) {
  while (eg_ring_used(&tx) > 0 && !(STATE(UART0) & TX_FULL)) DATA(UART0) = eg_ring_get(&tx);
  while (plant.sent < plant.sends && !(STATE(UART1) & TX_FULL))
    DATA(UART1) = plant.out[plant.sent++];
}

/* 32 bits of the timer last 171 s, and this is called all the time. */
uint32_t board_now_us(void) {
  uint32_t now = ~EG_REG(TIMER0 + 0x4u); /* it counts down */
  part += now - ticks;
  ticks = now;
  us += part / TICKS_PER_US;
  part %= TICKS_PER_US;
  receive();
  return us;
}

/* Interrupts stay masked: they wake the processor and nothing else. Polling instead takes twice as
 * long a byte in QEMU, since every look at a register stops its other thread. */
void board_wait(uint32_t until_us) {
  uint32_t left_us = until_us - board_now_us();
  transmit();
  if (left_us == 0 || left_us > EG_TURN_US) return;
  if (until_us != wake_us) { /* once a turn: a timer that is set anew for each byte costs a lot */
    wake_us = until_us;
    EG_REG(TIMER1 + 0x4u) = (left_us + 1u) * TICKS_PER_US;
    EG_REG(TIMER1 + 0xCu) = 1u;
  }
  EG_REG(NVIC_CLEAR) = AWAKE;
  if (!(STATE(UART0) & RX_FULL) && !(STATE(UART1) & RX_FULL)) __asm volatile("wfi");
}

uint32_t board_rx(uint8_t *into, uint32_t room) {
  uint32_t n = 0;
  while (n < room && eg_ring_used(&rx) > 0) into[n++] = eg_ring_get(&rx);
  return n;
}

bool board_tx(const uint8_t *data, uint32_t n) {
  if (n > EG_RING - eg_ring_used(&tx)) return false;
  for (uint32_t i = 0; i < n; i++) eg_ring_put(&tx, data[i]);
  transmit();
  return true;
}

void board_sense(eg_sensed_t *sensed) {
  turn_us = us;
  if (us - plant.heard_us > SENSED_US) plant.heard = 0; /* for good: no age that wraps */
  sensed->speed.validity = plant.heard & 1u ? EG_VALID : EG_INVALID;
  sensed->speed.value = plant.speed;
  sensed->steering.validity = plant.heard & 2u ? EG_VALID : EG_INVALID;
  sensed->steering.value = plant.steering;
}

void board_actuate(const int32_t output[EG_OUTPUTS]) {
  for (uint32_t i = 0; i < EG_OUTPUTS; i++) *actuator[i] = (uint32_t)output[i];
  int32_t held[EG_OUTPUTS];
  board_readback(held); /* what reaches the plant went through the registers */
  eg_plant_command(&plant, turn_us, held);
  transmit();
}

void board_readback(int32_t output[EG_OUTPUTS]) {
  for (uint32_t i = 0; i < EG_OUTPUTS; i++) output[i] = (int32_t)*actuator[i];
}

void board_stroke(void) {
  EG_REG(WATCHDOG + 0xCu) = 1u;
}
