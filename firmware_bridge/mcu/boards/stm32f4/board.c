/* SPDX-License-Identifier: Apache-2.0 */
/* STM32F405/F407 at 168 MHz, registers after ST's RM0090. Compiled in CI; not yet run on a board.
 *
 *   link      USART2, PA2 and PA3, 1 Mbit/s; DMA fills the ring, so that no byte needs attention
 *   speed     wheel pulses on TIM3's encoder input, PA6 and PA7: signed, 64 a metre
 *   steering  potentiometer on ADC1 channel 1, PA1: 0 to 4095 is -0.6 to 0.6 rad
 *   actuators TIM4 channels 1 and 2, PB6 and PB7, 1 kHz: 0 to 40 m/s, -0.6 to 0.6 rad (pwm_of)
 *   watchdog  IWDG, 60 ms (41 to 113: its oscillator is not the processor's, nor as exact)
 *   time      TIM2, 32 bits, 1 MHz, from the crystal (HSE_MHZ)
 *   nonces    seeded by the hardware RNG: they resist guessing as well as replay */
#include <string.h>

#include "arith.h"
#include "board.h"
#include "cortex_m.h"
#include "mcu.h"

#define RCC 0x40023800u
#define FLASH_ACR EG_REG(0x40023C00u)
#define PWR_CR EG_REG(0x40007000u)
#define GPIOA 0x40020000u
#define GPIOB 0x40020400u
#define USART2 0x40004400u
#define DMA1 0x40026000u
#define STREAM5 (DMA1 + 0x88u) /* USART2 receive, channel 4 */
#define TIM2 0x40000000u
#define TIM3 0x40000400u
#define TIM4 0x40000800u
#define ADC1 0x40012000u
#define IWDG 0x40003000u
#define RNG 0x50060800u

#ifndef HSE_MHZ
#define HSE_MHZ 12u /* the crystal: 12 on Adafruit's Feather, 8 on ST's Discovery */
#endif
#define PULSES_PER_M 64
#define SPEED_FULL (40 * EG_ONE) /* Q16.16 m/s at PWM_FULL */
#define STEERING_FULL 39322      /* Q16.16, 0.6 rad */
#define PWM_PERIOD 10500
#define PWM_LEAST (PWM_PERIOD / 20)
#define PWM_FULL (PWM_PERIOD - PWM_LEAST)

extern uint8_t eg_image_start[], eg_image_bytes[], eg_stack_limit[], eg_ram_words[];
extern const eg_seal_t eg_seal;
extern const eg_mcu_config_t eg_mcu_config;

static eg_record_t record;
static eg_record_t saved[EG_SAVES] __attribute__((section(".noinit")));
static eg_ring_t tx;
static volatile uint8_t rx[EG_RING] __attribute__((section(".dma")));
static uint32_t rx_at;
static uint16_t wheel;           /* TIM3 at the last look */
static uint32_t wheel_us;        /* and when that was */
static int32_t speed;            /* Q16.16 m/s, filtered */
static bool measured;            /* there is one */
static int32_t said[EG_OUTPUTS]; /* what the PWM stands for */

static void set(uint32_t address, uint32_t bits) {
  EG_REG(address) |= bits;
}

/* The crystal: the RC oscillator is off by up to 4 %, and the link's clock allows 200 ppm. One that
 * does not start ends in the watchdog. 2 MHz * 168 / 2; APB1 42 MHz, APB2 84 MHz; five wait states
 * of flash. */
static void start_clock(void) {
  set(RCC, 1u << 16);
  while (!(EG_REG(RCC) & 1u << 17)) {
  }
  set(RCC + 0x40u, 1u << 28); /* power interface */
  PWR_CR |= 1u << 14;         /* voltage scale 1: needed above 144 MHz */
  EG_REG(RCC + 0x04u) = HSE_MHZ / 2u | 168u << 6 | 0u << 16 | 1u << 22 | 7u << 24;
  set(RCC, 1u << 24);
  while (!(EG_REG(RCC) & 1u << 25)) {
  }
  FLASH_ACR = 0x705u; /* caches, prefetch, five wait states */
  EG_REG(RCC + 0x08u) = 5u << 10 | 4u << 13;
  set(RCC + 0x08u, 2u);
  while ((EG_REG(RCC + 0x08u) & 0xCu) != 8u) {
  }
  set(RCC + 0x30u, 1u | 2u | 1u << 21);      /* GPIOA, GPIOB, DMA1 */
  set(RCC + 0x34u, 1u << 6);                 /* RNG */
  set(RCC + 0x40u, 1u | 2u | 4u | 1u << 17); /* TIM2, TIM3, TIM4, USART2 */
  set(RCC + 0x44u, 1u << 8);                 /* ADC1 */
}

static void start_pins(void) {
  EG_REG(GPIOA + 0x00u) = 0xA8000000u | 2u << 4 | 2u << 6 | 3u << 2 | 2u << 12 | 2u << 14;
  EG_REG(GPIOA + 0x20u) = 7u << 8 | 7u << 12 | 2u << 24 | 2u << 28; /* USART2, TIM3 */
  EG_REG(GPIOB + 0x00u) = 0x280u | 2u << 12 | 2u << 14;
  EG_REG(GPIOB + 0x20u) = 2u << 24 | 2u << 28; /* TIM4 */
}

static void start_link(void) {
  EG_REG(STREAM5 + 0x04u) = EG_RING;
  EG_REG(STREAM5 + 0x08u) = USART2 + 0x04u;
  EG_REG(STREAM5 + 0x0Cu) = (uint32_t)(uintptr_t)rx;
  EG_REG(STREAM5 + 0x00u) = 4u << 25 | 1u << 10 | 1u << 8 | 1u; /* into memory, round and round */
  EG_REG(USART2 + 0x08u) = 42u;                                 /* 42 MHz / 42 */
  EG_REG(USART2 + 0x14u) = 1u << 6;
  EG_REG(USART2 + 0x0Cu) = 1u << 13 | 1u << 3 | 1u << 2;
}

static void start_timers(void) {
  EG_REG(TIM2 + 0x28u) = 83u; /* 84 MHz / 84 */
  EG_REG(TIM2 + 0x2Cu) = 0xFFFFFFFFu;
  EG_REG(TIM2 + 0x14u) = 1u;
  EG_REG(TIM2 + 0x00u) = 1u;
  EG_REG(TIM3 + 0x18u) = 0x0101u; /* encoder, both edges of both inputs */
  EG_REG(TIM3 + 0x08u) = 3u;
  EG_REG(TIM3 + 0x2Cu) = 0xFFFFu;
  EG_REG(TIM3 + 0x00u) = 1u;
  EG_REG(TIM4 + 0x28u) = 7u; /* 84 MHz / 8 / 10500: 1 kHz */
  EG_REG(TIM4 + 0x2Cu) = PWM_PERIOD - 1u;
  EG_REG(TIM4 + 0x18u) = 0x6868u; /* PWM mode 1, both; no pulses until there is something to say */
  EG_REG(TIM4 + 0x00u) = 0x81u;
}

static void start_adc(void) {
  EG_REG(ADC1 + 0x304u) = 1u << 16; /* 84 MHz / 4: at most 36 */
  EG_REG(ADC1 + 0x10u) = 7u << 3;   /* channel 1: 480 cycles */
  EG_REG(ADC1 + 0x34u) = 1u;
  EG_REG(ADC1 + 0x08u) = 3u; /* on, and converting for ever */
  set(ADC1 + 0x08u, 1u << 30);
}

/* It starts with its longest time, and takes the shorter one when it is reloaded. */
static void start_watchdog(void) {
  EG_REG(IWDG) = 0xCCCCu;
  EG_REG(IWDG) = 0x5555u;
  EG_REG(IWDG + 0x04u) = 1u;                  /* 32 kHz / 8 */
  EG_REG(IWDG + 0x08u) = 240u;                /* 60 ms: three turns of the longest period */
  while ((EG_REG(IWDG + 0x0Cu) & 3u) != 0u) { /* until both have arrived there */
  }
  EG_REG(IWDG) = 0xAAAAu;
}

/* RAM keeps what it holds for a while without power: what was saved is of a drive that is over. */
static void forget_after_power(void) {
  if ((EG_REG(RCC + 0x74u) & (1u << 27 | 1u << 25)) != 0u) memset(saved, 0, sizeof saved);
  set(RCC + 0x74u, 1u << 24);
}

void board_init(uint8_t entropy[EG_ENTROPY_BYTES]) {
  start_watchdog();
  forget_after_power();
  start_clock();
  start_pins();
  start_link();
  start_timers();
  start_adc();
  EG_REG(RNG) = 4u;
  for (uint32_t i = 0; i < EG_ENTROPY_BYTES; i += 4u) {
    while (!(EG_REG(RNG + 0x04u) & 1u)) { /* one that never comes ends in the watchdog */
    }
    uint32_t word = EG_REG(RNG + 0x08u);
    memcpy(entropy + i, &word, sizeof word);
  }
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

uint32_t board_now_us(void) {
  if ((EG_REG(USART2) & 0x80u) && eg_ring_used(&tx) > 0) EG_REG(USART2 + 0x04u) = eg_ring_get(&tx);
  return EG_REG(TIM2 + 0x24u);
}

void board_wait(uint32_t until_us) {
  (void)until_us; /* nothing to save here; the transmitter wants its bytes */
}

uint32_t board_rx(uint8_t *into, uint32_t room) {
  uint32_t n = 0, end = (EG_RING - EG_REG(STREAM5 + 0x04u)) % EG_RING;
  for (rx_at %= EG_RING; n < room && rx_at != end; rx_at = (rx_at + 1u) % EG_RING)
    into[n++] = rx[rx_at];
  return n;
}

bool board_tx(const uint8_t *data, uint32_t n) {
  if (n > EG_RING - eg_ring_used(&tx)) return false;
  for (uint32_t i = 0; i < n; i++) eg_ring_put(&tx, data[i]);
  return true;
}

/* Pulses since the last turn, Q16.16 m/s. */
static int32_t speed_of_wheel(void) {
  uint16_t now = (uint16_t)EG_REG(TIM3 + 0x24u);
  uint32_t now_us = EG_REG(TIM2 + 0x24u), passed_us = now_us - wheel_us;
  int64_t pulses = (int16_t)(uint16_t)(now - wheel);
  wheel = now;
  wheel_us = now_us;
  if (passed_us == 0) return speed;
  int64_t found = pulses * EG_ONE * (1000000 / PULSES_PER_M) / (int64_t)passed_us;
  if (found > SPEED_FULL) return SPEED_FULL;
  return found < -SPEED_FULL ? -SPEED_FULL : (int32_t)found;
}

/* Smoothed over eight turns, from the first on. A potentiometer at either end is a broken wire. */
void board_sense(eg_sensed_t *sensed) {
  speed += (speed_of_wheel() - speed) / (measured ? 8 : 1);
  measured = true;
  int32_t angle = (int32_t)(EG_REG(ADC1 + 0x4Cu) & 0xFFFu);
  bool wired = angle > 20 && angle < 4075;
  sensed->speed.validity = EG_VALID;
  sensed->speed.value = speed;
  sensed->steering.validity = wired ? EG_VALID : EG_INVALID;
  sensed->steering.value = (angle - 2048) * STEERING_FULL / 2048;
}

/* From 5 to 95 % of the time: no pulses, as from a reset to the first turn, are no command, and the
 * actuators hold what they had. */
static uint32_t pwm_of(uint32_t i, int32_t value) {
  const int64_t range = PWM_FULL - PWM_LEAST;
  int64_t share = i == EG_SPEED ? (int64_t)value * range / SPEED_FULL
                                : ((int64_t)value + STEERING_FULL) * range / (2 * STEERING_FULL);
  return (uint32_t)eg_clamp((int32_t)share, 0, range) + PWM_LEAST;
}

void board_actuate(const int32_t output[EG_OUTPUTS]) {
  for (uint32_t i = 0; i < EG_OUTPUTS; i++) {
    EG_REG(TIM4 + 0x34u + 4u * i) = pwm_of(i, output[i]);
    said[i] = output[i];
  }
  EG_REG(TIM4 + 0x20u) = 0x11u; /* pulses */
}

/* PWM is coarser than Q16.16: what was written, if the register holds what that asks for. */
void board_readback(int32_t output[EG_OUTPUTS]) {
  for (uint32_t i = 0; i < EG_OUTPUTS; i++) {
    bool holds = EG_REG(TIM4 + 0x34u + 4u * i) == pwm_of(i, said[i]);
    output[i] = holds ? said[i] : ~said[i];
  }
}

void board_stroke(void) {
  EG_REG(IWDG) = 0xAAAAu;
}
