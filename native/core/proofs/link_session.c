/* SPDX-License-Identifier: Apache-2.0 */
#define OPAQUE_TYPES
#include "link_uninterpreted_tag.h"

#include "link.c"

static void restart_c(eg_link_t *l) REQUIRES(WRITES(l) && a_type < EG_MESSAGES)
    ASSIGNS(SESSION_ASSIGNS) ENSURES(MACHINE_OK(&l->machine) && ALL_CREDIT(l))
    /* LINK-10 */ ENSURES(ANEW);

static void refill_c(eg_link_t *l) REQUIRES(WRITES(l) && a_type < EG_MESSAGES)
    REQUIRES(ALL_CREDIT(l)) ASSIGNS(l->credit) ENSURES(ALL_CREDIT(l))
    /* LINK-6 */ ENSURES(l->credit[a_type] == MIN(OLD(l->credit[a_type]) + 2, 8));

static uint32_t ones_c(uint32_t x) ASSIGNS()
    /* LINK-13 */ ENSURES(RET == bad_ones(x));

/* The worst stands for the period; of good frames that none counted one is kept. */
static eg_e2e_result_t of_period_c(eg_link_t *l) REQUIRES(WRITES(l) && l->worst <= EG_E2E_RESULTS)
    ASSIGNS(l->worst, l->ahead)
    /* LINK-13 */ ENSURES(RET == (OLD(l->worst) != 0   ? OLD(l->worst) - 1u
                                  : OLD(l->ahead) != 0 ? (uint32_t)EG_E2E_OK
                                                       : (uint32_t)EG_E2E_NONEWDATA))
        ENSURES(l->worst == 0 && l->ahead == (OLD(l->ahead) > (RET <= EG_E2E_OKSOMELOST)));

/*! enforce restart; replace eg_e2e_machine_init */
void prove_restart(void) {
  eg_link_t l;
  free_link_choice();
  restart(&l);
  REACHED;
}

/*! enforce eg_link_init; replace restart */
void prove_link_init(void) {
  eg_link_t l;
  eg_link_config_t config;
  free_link_choice();
  eg_link_init(&l, &config);
  REACHED;
}

/*! enforce eg_link_open; replace restart */
void prove_link_open(void) {
  eg_link_t l;
  uint8_t host[EG_NONCE_BYTES], mcu[EG_NONCE_BYTES];
  free_link_choice();
  eg_link_open(&l, host, mcu);
  REACHED;
}

/*! enforce eg_link_close; replace restart */
void prove_link_close(void) {
  eg_link_t l;
  free_link_choice();
  eg_link_close(&l);
  REACHED;
}

/*! enforce eg_link_frame; replace eg_message_pack eg_e2e_protect eg_message_data_id */
void prove_link_frame(void) {
  eg_link_t l;
  eg_message_t m;
  uint8_t frame[EG_FRAME_MAX];
  free_link_choice();
  eg_link_frame(&l, &m, frame);
  REACHED;
}

/*! enforce eg_link_wire; replace eg_link_frame eg_cobs_encode */
void prove_link_wire(void) {
  eg_link_t l;
  eg_message_t m;
  uint8_t wire[EG_WIRE_MAX];
  free_link_choice();
  eg_link_wire(&l, &m, wire);
  REACHED;
}

/*! enforce eg_link_byte; replace eg_cobs_decode eg_link_accept; seconds 6 */
void prove_link_byte(void) {
  eg_link_t l;
  eg_message_t m;
  free_link_choice();
  eg_link_byte(&l, nondet_u8(), nondet_u32(), &m);
  REACHED;
}

/*! enforce refill */
void prove_refill(void) {
  eg_link_t l;
  free_link_choice();
  refill(&l);
  REACHED;
}

/*! enforce ones; unwind 34 */
void prove_ones(void) {
  ones(nondet_u32());
  REACHED;
}

/*! enforce eg_link_pass; replace eg_clock_tick */
void prove_link_pass(void) {
  eg_link_t l;
  eg_link_pass(&l, nondet_u32());
  REACHED;
}

/*! enforce of_period */
void prove_of_period(void) {
  eg_link_t l;
  of_period(&l);
  REACHED;
}

/*! enforce eg_link_tick; replace refill ones of_period eg_e2e_machine_step */
void prove_link_tick(void) {
  eg_link_t l;
  free_link_choice();
  eg_link_tick(&l);
  REACHED;
}
