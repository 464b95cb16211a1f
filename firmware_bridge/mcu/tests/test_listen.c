/* SPDX-License-Identifier: Apache-2.0 */
/* Bytes as a UART brings them: in pieces of any size, and more than there is time for. */
#include <string.h>

#include "rig.h"

static uint16_t wire_of_hello(rig_t *r, uint8_t wire[EG_WIRE_MAX]) {
  eg_message_t m = {.type = EG_MSG_HELLO};
  memcpy(m.as.hello.policy, r->hash, sizeof r->hash);
  return eg_link_wire(&r->host, &m, wire);
}

static void bring(rig_t *r, const uint8_t *data, uint32_t n) {
  eg_twin_receive(&r->twin, data, n);
  eg_twin_listen(&r->twin);
}

static void heard(rig_t *r, const char *what, uint32_t size) {
  CHECK(r->twin.mcu.staged_n == 0, "%s %u: %u bytes wait", what, size, r->twin.mcu.staged_n);
  rig_step(r);
  CHECK(r->seen[EG_MSG_CHALLENGE] == 1, "%s %u: not heard", what, size);
}

static void in_pieces_of_any_size(void) {
  uint8_t wire[EG_WIRE_MAX];
  rig_t r;
  rig_start(&r);
  uint32_t n = wire_of_hello(&r, wire);
  CHECK(n > EG_STAGED, "%u bytes", n);
  for (uint32_t size = 1; size <= n; size++) {
    rig_start(&r);
    (void)wire_of_hello(&r, wire);
    for (uint32_t at = 0; at < n; at += size) bring(&r, wire + at, n - at < size ? n - at : size);
    heard(&r, "pieces of", size);
  }
  for (uint32_t first = 1; first < n; first++) {
    rig_start(&r);
    (void)wire_of_hello(&r, wire);
    bring(&r, wire, first);
    bring(&r, wire + first, n - first);
    heard(&r, "first", first);
  }
}

/* To the byte, however they come: the rest waits for the next turn. */
static void as_many_as_there_is_time_for(void) {
  static const uint32_t first[] = {0, 448, 500, EG_RX_PER_TURN - 1, EG_RX_PER_TURN};
  uint8_t noise[EG_RX_PER_TURN + 1];
  memset(noise, 0x55, sizeof noise);
  for (uint32_t i = 0; i < sizeof first / sizeof first[0]; i++) {
    rig_t r;
    rig_start(&r);
    rig_step(&r);
    if (first[i] > 0) noise[first[i] - 1] = 0; /* staged no more, so that there is all the room */
    bring(&r, noise, first[i]);
    if (first[i] > 0) noise[first[i] - 1] = 0x55;
    CHECK(r.twin.rx_used == 0, "%u of %u wait", r.twin.rx_used, first[i]);
    bring(&r, noise, sizeof noise);
    CHECK(r.twin.rx_used == first[i] + 1, "%u wait after %u", r.twin.rx_used, first[i]);
    eg_twin_listen(&r.twin);
    CHECK(r.twin.rx_used == first[i] + 1, "goes on in the same turn");
    rig_step(&r);
    CHECK(r.twin.rx_used == first[i] + 1, "the turn takes some in");
    eg_twin_listen(&r.twin);
    CHECK(r.twin.rx_used <= 1, "%u wait after the turn", r.twin.rx_used);
  }
}

/* A turn is not late for what comes at its end, and who is late all the time hears something. */
static void until_the_turn_is_due(void) {
  static const uint8_t noise[300] = {0x55};
  rig_t r;
  rig_start(&r);
  rig_step(&r);
  eg_twin_receive(&r.twin, noise, sizeof noise);
  for (uint32_t i = 1; i < 4; i++) {
    eg_mcu_listen(&r.twin.mcu, r.twin.now_us - (i - 1));
    CHECK(r.twin.rx_used == sizeof noise - i * EG_STAGED, "%u wait", r.twin.rx_used);
  }
  eg_mcu_listen(&r.twin.mcu, r.twin.now_us + 1);
  CHECK(r.twin.rx_used == 0, "%u wait, and there is time", r.twin.rx_used);
}

/* What does not last from turn to turn has no seal: whatever it says, nothing is overrun, and what
 * comes next is heard. */
static void with_counts_that_cannot_be(void) {
  static const uint32_t counts[] = {EG_STAGED, EG_STAGED + 1, UINT32_MAX};
  uint8_t wire[EG_WIRE_MAX];
  rig_t r;
  for (uint32_t i = 0; i < 3; i++) {
    rig_start(&r);
    memset(r.twin.mcu.staged, 0x55, sizeof r.twin.mcu.staged);
    r.twin.mcu.staged_n = counts[i];
    uint32_t n = wire_of_hello(&r, wire);
    CHECK(wire[0] == 0, "begins with %u", wire[0]);
    bring(&r, wire + 1, n - 1); /* without the zero that would end what is not its own */
    heard(&r, "count", counts[i]);
  }
  rig_start(&r);
  r.twin.mcu.drained = EG_RX_PER_TURN + 1;
  bring(&r, wire, wire_of_hello(&r, wire));
  CHECK(r.twin.rx_used > EG_STAGED, "takes in more than there is time for");
  rig_step(&r);
  eg_twin_listen(&r.twin);
  heard(&r, "drained", r.twin.mcu.drained);
}

/* Where the last byte of room takes one, the others that wait are not forgotten. */
static void when_room_is_left_for_one(void) {
  uint8_t bytes[EG_STAGED];
  rig_t r;
  rig_start(&r);
  memset(bytes, 0x55, sizeof bytes);
  bring(&r, bytes, EG_STAGED - 1);
  CHECK(r.twin.mcu.staged_n == EG_STAGED - 1, "%u held", r.twin.mcu.staged_n);
  bring(&r, bytes, EG_STAGED);
  CHECK(r.twin.rx_used == 0, "%u wait", r.twin.rx_used);
}

/* However a frame is cut, its end is heard when it comes. */
static void its_last_byte_ends_it(void) {
  uint8_t wire[EG_WIRE_MAX];
  rig_t r;
  rig_start(&r);
  uint32_t n = wire_of_hello(&r, wire);
  bring(&r, wire, n - 1);
  r.twin.mcu.staged_n = 0; /* as after a piece that was full */
  bring(&r, wire + n - 1, 1);
  CHECK(r.twin.mcu.staged_n == 0, "the end waits for more");
}

static void commands_are_counted(void) {
  rig_t r;
  rig_drive(&r, Q(5), 10);
  CHECK(r.twin.mcu.heard.inbox.serial == 10, "%u", r.twin.mcu.heard.inbox.serial);
}

int main(void) {
  in_pieces_of_any_size();
  as_many_as_there_is_time_for();
  until_the_turn_is_due();
  with_counts_that_cannot_be();
  when_room_is_left_for_one();
  its_last_byte_ends_it();
  commands_are_counted();
  return 0;
}
