/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "check.h"
#include "ends.h"

/* The layout on the wire, byte by byte: it is a file format, and nobody may change it by accident.
 */
static const struct {
  uint8_t n, byte[EG_PAYLOAD_MAX];
} wire[EG_MESSAGES] = {
    [EG_MSG_HELLO] = {40, {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, [39] = 12}},
    [EG_MSG_ARM] = {20, {1, [7] = 2, 3, [15] = 4, 8, 7, 6, 5}},
    [EG_MSG_COMMAND] = {27, {4,    3,  2, 1, 8, 7,  6, 5, 2, 1,    2,    0xF7, 0xFF, 0xFF,
                             0xFF, 10, 0, 0, 0, 11, 0, 0, 0, 0xF4, 0xFF, 0xFF, 0xFF}},
    [EG_MSG_VERDICT] = {22,
                        {4, 3, 2, 1, 8, 7, 6, 5, 12, 11, 10, 9, 1, 1, 1, 2, 3, 4, 5, 6, 7, 255}},
    [EG_MSG_ANSWER] = {40, {4,        3,        2,        1,        8,        7,          6,
                            5,        12,       11,       10,       9,        1,          [16] = 2,
                            [20] = 3, [24] = 4, [28] = 5, [32] = 6, [36] = 7, [39] = 0x80}},
    [EG_MSG_LOG_HEAD] = {36, {4, 3, 2, 1, 5, 6, 7, [35] = 8}},
    [EG_MSG_CHALLENGE] = {18, {1, [7] = 2, 3, [15] = 4, 1, 0}},
    [EG_MSG_ARMED] = {9, {EG_ARM_TOKEN, 4, 3, 2, 1, 8, 7, 6, 5}},
    [EG_MSG_STATE] = {30, {4,    3,    2,    1, 8, 7, 6, 5, 12, 11, 10, 9,    3,    1,    0xFB,
                           0xFF, 0xFF, 0xFF, 6, 0, 0, 0, 7, 0,  0,  0,  0xF8, 0xFF, 0xFF, 0xFF}},
    [EG_MSG_QUESTION] = {8, {4, 3, 2, 1, 6, 5, 8, 7}},
    [EG_MSG_BOOT] = {40, {EG_RESET_FAULT, EG_RESET_WATCHDOG, 2, 1, 6, 5, 4, 3, 7, [39] = 8}},
    [EG_MSG_LOG_ACK] = {36, {4, 3, 2, 1, 5, 6, 7, [35] = 8}}};

static void layout(uint8_t type) {
  eg_message_t m = ends_message(type), back = {.type = type};
  uint8_t payload[EG_PAYLOAD_MAX + 1];
  memset(payload, 0xEE, sizeof payload);
  CHECK(eg_message_size(type) == wire[type].n, "type %u", type);
  CHECK(eg_message_pack(&m, payload) == wire[type].n, "type %u", type);
  for (uint32_t i = 0; i < sizeof payload; i++)
    CHECK(payload[i] == (i < wire[type].n ? wire[type].byte[i] : 0xEE), "type %u, byte %u: %02X",
          type, i, payload[i]);
  CHECK(eg_message_unpack(payload, wire[type].n, &back), "type %u comes back", type);
  uint8_t again[EG_PAYLOAD_MAX];
  CHECK(eg_message_pack(&back, again) == wire[type].n, "type %u", type);
  CHECK(memcmp(again, payload, wire[type].n) == 0, "type %u means the same", type);
}

static void length_must_fit(uint8_t type) {
  eg_message_t back = {.type = type};
  for (uint16_t n = 0; n <= EG_PAYLOAD_MAX + 4; n++) {
    uint8_t payload[EG_PAYLOAD_MAX + 4];
    memcpy(payload, wire[type].byte, EG_PAYLOAD_MAX);
    CHECK(eg_message_unpack(payload, n, &back) == (n == wire[type].n), "type %u of %u", type, n);
  }
}

/* Fields with fewer values than bits: at the last value, and one beyond. */
static void enumerations(void) {
  static const struct {
    uint8_t type, at, last;
  } field[] = {{EG_MSG_COMMAND, 8, EG_SAFE_STOP},
               {EG_MSG_COMMAND, 9, 1},
               {EG_MSG_COMMAND, 10, EG_MAX_CHANNELS},
               {EG_MSG_VERDICT, 12, EG_SAFE_STOP},
               {EG_MSG_VERDICT, 13, 1},
               {EG_MSG_CHALLENGE, 16, 1},
               {EG_MSG_CHALLENGE, 17, 1},
               {EG_MSG_ARMED, 0, EG_ARM_TOO_OFTEN},
               {EG_MSG_STATE, 12, EG_SAFE_STOP},
               {EG_MSG_STATE, 13, 3},
               {EG_MSG_BOOT, 0, EG_RESET_SELF_TEST},
               {EG_MSG_BOOT, 1, EG_RESET_SELF_TEST}};
  for (size_t i = 0; i < sizeof field / sizeof *field; i++)
    for (uint32_t value = 0; value < 256; value++) {
      uint8_t payload[EG_PAYLOAD_MAX];
      eg_message_t m = {.type = field[i].type};
      memcpy(payload, wire[field[i].type].byte, sizeof payload);
      payload[field[i].at] = (uint8_t)value;
      CHECK(eg_message_unpack(payload, wire[field[i].type].n, &m) == (value <= field[i].last),
            "type %u, byte %u: %u", field[i].type, field[i].at, value);
    }
}

static void a_question_is_never_0(void) {
  uint8_t payload[EG_PAYLOAD_MAX] = {0, 0, 0, 0, 1, 0, 2, 0};
  eg_message_t m = {.type = EG_MSG_QUESTION};
  CHECK(!eg_message_unpack(payload, 8, &m), "0");
  payload[3] = 1;
  CHECK(eg_message_unpack(payload, 8, &m), "not 0");
  CHECK(m.as.question.open_us == 1 && m.as.question.close_us == 2, "its window");
}

/* Every bit of every field arrives where it was. */
static void every_bit_comes_back(uint8_t type) {
  for (uint32_t bit = 0; bit < 8u * wire[type].n; bit++) {
    uint8_t payload[EG_PAYLOAD_MAX], again[EG_PAYLOAD_MAX];
    eg_message_t m = {.type = type};
    memcpy(payload, wire[type].byte, sizeof payload);
    payload[bit / 8] ^= (uint8_t)(1u << bit % 8);
    if (!eg_message_unpack(payload, wire[type].n, &m)) continue; /* see enumerations() */
    (void)eg_message_pack(&m, again);
    CHECK(memcmp(again, payload, wire[type].n) == 0, "type %u, bit %u", type, bit);
  }
}

static void no_such_type(void) {
  uint8_t payload[EG_PAYLOAD_MAX] = {0};
  for (uint32_t type = EG_MESSAGES; type < 256; type++) {
    eg_message_t m = {.type = (uint8_t)type};
    CHECK(eg_message_size((uint8_t)type) == 0, "%u", type);
    memset(payload, 0xEE, sizeof payload);
    CHECK(eg_message_pack(&m, payload) == 0, "%u", type);
    for (size_t i = 0; i < sizeof payload; i++) CHECK(payload[i] == 0xEE, "%u writes", type);
    memset(payload, 0, sizeof payload); /* good for any type without a question */
    for (uint16_t n = 0; n <= EG_PAYLOAD_MAX; n++)
      CHECK(!eg_message_unpack(payload, n, &m), "%u of %u", type, n);
  }
}

static uint32_t distance(uint32_t a, uint32_t b) {
  uint32_t n = 0;
  for (uint32_t x = a ^ b; x; x &= x - 1) n++;
  return n;
}

static void data_ids(void) {
  static const uint32_t id[EG_MESSAGES] = {0x4547020F, 0x45470233, 0x4547023C, 0x45470255,
                                           0x4547025A, 0x45470266, 0x45470269, 0x45470296,
                                           0x45470299, 0x454702A5, 0x454702AA, 0x454702C3};
  for (uint8_t a = 0; a < EG_MESSAGES; a++) {
    CHECK(eg_message_data_id((eg_message_type_t)a) == id[a], "type %u", a);
    CHECK(eg_message_type(id[a]) == a, "type %u", a);
    for (uint8_t b = 0; b < a; b++)
      CHECK(distance(id[a], id[b]) >= 4, "%u and %u: 3 wrong bits make no other type", a, b);
    for (uint32_t bit = 0; bit < 32; bit++)
      CHECK(eg_message_type(id[a] ^ (1u << bit)) == EG_MESSAGES, "type %u, bit %u", a, bit);
  }
  CHECK(eg_message_type(0) == EG_MESSAGES, "0");
  CHECK(eg_message_type(id[2] ^ 0x300u) == EG_MESSAGES, "version 1");
}

int main(void) {
  for (uint8_t type = 0; type < EG_MESSAGES; type++) {
    layout(type);
    length_must_fit(type);
    every_bit_comes_back(type);
  }
  enumerations();
  a_question_is_never_0();
  no_such_type();
  data_ids();
  return 0;
}
