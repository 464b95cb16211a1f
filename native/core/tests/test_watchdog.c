/* SPDX-License-Identifier: Apache-2.0 */
#include <stddef.h>
#include <string.h>

#include "check.h"
#include "edgeguard/watchdog.h"
#include "fixture.h"

/* The microcontroller's watchdog over a real core, which answers by deciding. */
typedef struct {
  eg_watchdog_t watchdog;
  guard_t guard;
  eg_command_msg_t command;
  eg_verdict_t verdict;
  eg_answer_t answer;
} pair_t;

static pair_t pair(void) {
  pair_t p;
  memset(&p, 0, sizeof p);
  eg_watchdog_init(&p.watchdog, 12345);
  guard_start(&p.guard);
  return p;
}

/* The host decides with this question in hand, and makes its three messages of it. */
static void decide(pair_t *p, uint32_t question) {
  p->guard.input.question = question;
  guard_tick(&p->guard);
  const eg_decision_t *d = &p->guard.out;
  memset(&p->command, 0, sizeof p->command);
  p->command.tick = p->verdict.tick = p->answer.tick = d->sequence;
  p->command.channels = p->guard.policy.channels;
  for (uint32_t i = 0; i < p->command.channels; i++) p->command.command[i] = d->channel[i].command;
  p->verdict.causes = d->causes;
  p->verdict.present = d->present;
  p->answer.question = d->question;
  p->answer.answer = d->answer;
  memcpy(p->answer.check, d->check, sizeof p->answer.check);
}

static void say(pair_t *p) {
  eg_watchdog_command(&p->watchdog, &p->command);
  eg_watchdog_verdict(&p->watchdog, &p->verdict);
  eg_watchdog_answer(&p->watchdog, &p->answer);
}

/* Asked, decided, and `after_us` later. */
static pair_t asked(uint32_t after_us) {
  pair_t p = pair();
  decide(&p, eg_watchdog_ask(&p.watchdog));
  CHECK(!eg_watchdog_tick(&p.watchdog, after_us), "in time");
  return p;
}

static bool wrong(pair_t *p) {
  return eg_watchdog_tick(&p->watchdog, 0);
}

static void a_working_host(void) {
  pair_t p = pair();
  for (uint32_t i = 1; i <= 1000; i++) {
    uint32_t question = eg_watchdog_ask(&p.watchdog);
    CHECK(question != 0, "asks");
    CHECK(eg_watchdog_ask(&p.watchdog) == 0, "not twice at once");
    decide(&p, question);
    CHECK(!eg_watchdog_tick(&p.watchdog, 10000), "waits");
    say(&p);
    CHECK(!wrong(&p) && p.watchdog.answered == i, "answer %u", i);
    CHECK(!eg_watchdog_tick(&p.watchdog, 90000), "nothing is asked, nothing is late");
  }
  CHECK(p.watchdog.early + p.watchdog.late + p.watchdog.mistaken == 0, "no failure counted");
}

static void window(void) {
  pair_t p = asked(EG_ANSWER_OPEN_US - 1);
  say(&p);
  CHECK(wrong(&p) && p.watchdog.early == 1 && p.watchdog.answered == 0, "1 us early");
  p = asked(EG_ANSWER_OPEN_US);
  say(&p);
  CHECK(!wrong(&p) && p.watchdog.answered == 1, "on opening");
  p = asked(EG_ANSWER_CLOSE_US);
  say(&p);
  CHECK(!wrong(&p) && p.watchdog.answered == 1, "on closing");
  p = asked(EG_ANSWER_CLOSE_US);
  CHECK(eg_watchdog_tick(&p.watchdog, 1) && p.watchdog.late == 1, "1 us late");
  say(&p);
  CHECK(wrong(&p) && p.watchdog.answered == 0, "an answer that comes then is none");
  CHECK(eg_watchdog_tick(&p.watchdog, 1000) && p.watchdog.late == 1, "counted once");
}

static void time_saturates(void) {
  pair_t p = pair();
  (void)eg_watchdog_ask(&p.watchdog);
  CHECK(!eg_watchdog_tick(&p.watchdog, 5), "waits");
  CHECK(eg_watchdog_tick(&p.watchdog, UINT32_MAX), "no wrap to early");
  p = pair();
  CHECK(!eg_watchdog_tick(&p.watchdog, UINT32_MAX), "before the first question");
  CHECK(!eg_watchdog_tick(&p.watchdog, UINT32_MAX), "twice");
  decide(&p, eg_watchdog_ask(&p.watchdog));
  CHECK(!eg_watchdog_tick(&p.watchdog, EG_ANSWER_OPEN_US), "time counts from the question");
  say(&p);
  CHECK(!wrong(&p), "answered");
}

/* One wrong byte in what came, or the right answer to a question that is off by `other`. */
typedef struct {
  const char *what;
  size_t at;
  uint8_t flip;
  int32_t other;
} lie_t;

static const lie_t lies[] = {
    {"question", offsetof(pair_t, answer.question), 1, 0},
    {"answer", offsetof(pair_t, answer.answer), 0x80, 0},
    {"tick", offsetof(pair_t, answer.tick), 0x10, 0},
    {"a check skipped", offsetof(pair_t, answer.check[EG_CHECK_NUMBERS]), 0xFF, 0},
    {"command", offsetof(pair_t, command.command[0]), 1, 0},
    {"command", offsetof(pair_t, command.command[0]) + 1, 1, 0},
    {"command", offsetof(pair_t, command.command[1]), 0x40, 0},
    {"channels", offsetof(pair_t, command.channels), 1, 0},
    {"causes", offsetof(pair_t, verdict.causes), 0x04, 0},
    {"causes", offsetof(pair_t, verdict.causes), 0x10, 0},
    {"causes", offsetof(pair_t, verdict.causes) + 1, 0x04, 0},
    {"present", offsetof(pair_t, verdict.present), 4, 0},
    {"the question before", 0, 0, -1},
    {"the question after", 0, 0, 1}};

/* Whatever differs from what the checks made is found, and stays found. */
static void mistaken(const lie_t *lie) {
  pair_t p = asked(5000);
  ((uint8_t *)&p)[lie->at] ^= lie->flip;
  if (lie->other) {
    p.answer.question += (uint32_t)lie->other;
    p.answer.answer = eg_flow_answer(p.answer.question, p.answer.tick, p.answer.check);
  }
  say(&p);
  CHECK(wrong(&p), "%s", lie->what);
  CHECK(p.watchdog.mistaken == 1 && p.watchdog.answered == 0, "%s", lie->what);
  uint32_t next = eg_watchdog_ask(&p.watchdog);
  CHECK(next != 0, "%s: goes on asking", lie->what);
  decide(&p, next);
  (void)eg_watchdog_tick(&p.watchdog, 5000);
  say(&p);
  CHECK(p.watchdog.answered == 1 && wrong(&p), "%s: a right one does not heal it", lie->what);
  eg_watchdog_init(&p.watchdog, 1);
  CHECK(!wrong(&p) && p.watchdog.mistaken == 0, "%s: arming does", lie->what);
}

/* Greater or smaller, each CRC must be the same. */
static void every_bit_of_what_was_said(void) {
  for (uint32_t bit = 0; bit < 32; bit++) {
    pair_t p = asked(5000);
    p.command.command[0] = (int32_t)((uint32_t)p.command.command[0] ^ 1u << bit);
    say(&p);
    CHECK(wrong(&p), "command, bit %u", bit);
    p = asked(5000);
    p.verdict.causes ^= 1u << bit;
    say(&p);
    CHECK(wrong(&p), "causes, bit %u", bit);
  }
}

static void every_check_matters(void) {
  for (uint32_t i = 0; i < EG_CHECKS; i++) {
    pair_t p = asked(5000);
    p.answer.check[i] ^= 1;
    say(&p);
    CHECK(wrong(&p), "check %u", i);
    p = asked(5000);
    p.answer.check[i] ^= 1; /* the right answer to what was found, but it is not what was done */
    p.answer.answer = eg_flow_answer(p.answer.question, p.answer.tick, p.answer.check);
    say(&p);
    bool seen = i == EG_CHECK_COMMANDS || i == EG_CHECK_CAUSES;
    CHECK(wrong(&p) == seen, "check %u: only what the messages say can be held against it", i);
  }
}

/* Its COMMAND or VERDICT, or both, were lost, now or since ever: not judged, and asked again at
 * once; the end of the window stays. */
static void messages_lost(void) {
  for (int said = 0; said < 3; said++)
    for (int before = 0; before < 2; before++) {
      pair_t p = pair();
      if (before) {
        decide(&p, 0);
        eg_watchdog_command(&p.watchdog, &p.command);
        eg_watchdog_verdict(&p.watchdog, &p.verdict);
      }
      uint32_t question = eg_watchdog_ask(&p.watchdog);
      decide(&p, question);
      (void)eg_watchdog_tick(&p.watchdog, 5000);
      if (said & 1) eg_watchdog_command(&p.watchdog, &p.command);
      if (said & 2) eg_watchdog_verdict(&p.watchdog, &p.verdict);
      eg_watchdog_answer(&p.watchdog, &p.answer);
      CHECK(!wrong(&p) && p.watchdog.unseen == 1 && p.watchdog.answered == 0, "said %d", said);
      CHECK(eg_watchdog_ask(&p.watchdog) == question, "the same question, at once");
      CHECK(eg_watchdog_ask(&p.watchdog) == 0, "once");
      decide(&p, question);
      CHECK(!eg_watchdog_tick(&p.watchdog, EG_ANSWER_CLOSE_US - 5000), "until the end");
      pair_t late = p, newer = p;
      say(&p);
      CHECK(!wrong(&p) && p.watchdog.answered == 1, "said %d: answered after all", said);
      newer.command.tick += 1u + (uint32_t)before; /* the next tick's came before this answer */
      eg_watchdog_command(&newer.watchdog, &newer.command);
      eg_watchdog_verdict(&newer.watchdog, &newer.verdict);
      eg_watchdog_answer(&newer.watchdog, &newer.answer);
      CHECK(!wrong(&newer) && newer.watchdog.unseen == 2, "said %d: of a later tick", said);
      CHECK(eg_watchdog_tick(&late.watchdog, 1) && late.watchdog.late == 1, "the window ends");
    }
}

/* An answer that is wrong in itself is wrong whether its messages came or not. */
static void wrong_even_when_messages_are_lost(void) {
  pair_t p = asked(5000);
  p.answer.answer ^= 1;
  eg_watchdog_answer(&p.watchdog, &p.answer);
  CHECK(wrong(&p) && p.watchdog.mistaken == 1, "wrong");
  p = asked(EG_ANSWER_OPEN_US - 1);
  eg_watchdog_answer(&p.watchdog, &p.answer);
  CHECK(wrong(&p) && p.watchdog.early == 1, "early");
}

static void asked_again(void) {
  pair_t p = pair();
  uint32_t question = eg_watchdog_ask(&p.watchdog);
  (void)eg_watchdog_tick(&p.watchdog, EG_QUESTION_AGAIN_US - 1);
  CHECK(eg_watchdog_ask(&p.watchdog) == 0, "not yet");
  (void)eg_watchdog_tick(&p.watchdog, 1);
  CHECK(eg_watchdog_ask(&p.watchdog) == question, "again");
  CHECK(eg_watchdog_ask(&p.watchdog) == 0, "not twice at once");
  (void)eg_watchdog_tick(&p.watchdog, EG_QUESTION_AGAIN_US + 5000);
  CHECK(eg_watchdog_ask(&p.watchdog) == question, "and again, though later");
  decide(&p, question);
  (void)eg_watchdog_tick(&p.watchdog, EG_ANSWER_CLOSE_US - 2 * EG_QUESTION_AGAIN_US - 5000);
  CHECK(!wrong(&p), "the window counts from the first time: at its end");
  pair_t late = p;
  say(&p);
  CHECK(!wrong(&p) && p.watchdog.answered == 1, "answered on closing");
  CHECK(eg_watchdog_ask(&p.watchdog) != question, "the next one is another");
  CHECK(p.watchdog.since_us == 0, "with a window of its own");
  CHECK(eg_watchdog_tick(&late.watchdog, 1) && late.watchdog.late == 1, "1 us later is late");
  CHECK(eg_watchdog_ask(&late.watchdog) != question, "and another one is asked");
}

/* Asked twice, answered twice: the second answer is passed over, before and after the next
 * question.
 */
static void answered_twice(void) {
  pair_t p = asked(5000);
  say(&p);
  eg_answer_t first = p.answer;
  eg_watchdog_answer(&p.watchdog, &first);
  CHECK(!wrong(&p) && p.watchdog.again == 1 && p.watchdog.answered == 1, "passed over");
  uint32_t question = eg_watchdog_ask(&p.watchdog);
  eg_watchdog_answer(&p.watchdog, &first);
  CHECK(!wrong(&p) && p.watchdog.again == 2 && p.watchdog.answered == 1,
        "nor is it the next one's");
  decide(&p, question);
  (void)eg_watchdog_tick(&p.watchdog, 5000);
  say(&p);
  CHECK(!wrong(&p) && p.watchdog.answered == 2, "which is answered");
  eg_watchdog_answer(&p.watchdog, &first);
  CHECK(wrong(&p) && p.watchdog.mistaken == 1, "the one before is too old");
}

/* F19: a host that sends what it sent before, for ever. */
static void replayed_for_ever(void) {
  pair_t p = asked(5000);
  say(&p);
  uint32_t passed_us = 0;
  (void)eg_watchdog_ask(&p.watchdog);
  while (!wrong(&p) && passed_us < 100000) {
    say(&p);
    (void)eg_watchdog_tick(&p.watchdog, 1000);
    (void)eg_watchdog_ask(&p.watchdog);
    passed_us += 1000;
  }
  CHECK(passed_us == EG_ANSWER_CLOSE_US + 1000, "found after %u us", passed_us);
}

/* Zeros match the zeros of a watchdog that has heard nothing; they are no messages for that. */
static void zeros_are_no_messages(void) {
  for (int said = 0; said < 4; said++) {
    pair_t p = pair();
    memset(&p.answer, 0, sizeof p.answer);
    p.answer.question = eg_watchdog_ask(&p.watchdog);
    eg_command_msg_t c = {.tick = 0};
    eg_verdict_t v = {.tick = 0};
    if (said & 1) {
      eg_watchdog_command(&p.watchdog, &c);
      p.answer.check[EG_CHECK_COMMANDS] = p.watchdog.command.crc;
    }
    if (said & 2) {
      eg_watchdog_verdict(&p.watchdog, &v);
      p.answer.check[EG_CHECK_CAUSES] = p.watchdog.verdict.crc;
    }
    p.answer.answer = eg_flow_answer(p.answer.question, 0, p.answer.check);
    (void)eg_watchdog_tick(&p.watchdog, 5000);
    eg_watchdog_answer(&p.watchdog, &p.answer);
    CHECK(!wrong(&p) && p.watchdog.answered == (said == 3), "said %d", said);
    CHECK(p.watchdog.unseen == (said != 3), "said %d: not judged", said);
  }
}

static void unasked(void) {
  pair_t p = pair();
  decide(&p, 5);
  say(&p);
  CHECK(wrong(&p) && p.watchdog.mistaken == 1, "nothing was asked");
  p = pair();
  decide(&p, 0);
  say(&p);
  CHECK(wrong(&p) && p.watchdog.mistaken == 1, "0 is no question");
  CHECK(p.watchdog.again == 0, "nor the last one");
}

/* Answers belong to ticks that go on, modulo 2^32: first any, then only later ones. */
static bool next_tick_is_right(uint32_t first, uint32_t second) {
  pair_t p = pair();
  p.guard.state.sequence = first - 1;
  for (int i = 0; i < 2; i++) {
    decide(&p, eg_watchdog_ask(&p.watchdog));
    (void)eg_watchdog_tick(&p.watchdog, 5000);
    say(&p);
    CHECK(i == 1 || !wrong(&p), "the first tick may be any: %u", first);
    p.guard.state.sequence = second - 1;
  }
  return !wrong(&p);
}

static void ticks_go_on(void) {
  const uint32_t firsts[] = {0, 1, 1000, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF};
  for (size_t i = 0; i < sizeof firsts / sizeof *firsts; i++) {
    uint32_t f = firsts[i];
    CHECK(next_tick_is_right(f, f + 1), "next");
    CHECK(next_tick_is_right(f, f + 0x7FFFFFFF), "far ahead");
    CHECK(!next_tick_is_right(f, f), "the same tick");
    CHECK(!next_tick_is_right(f, f - 1), "the one before");
    CHECK(!next_tick_is_right(f, f + 0x80000001), "half the circle back");
  }
}

static void questions_differ(void) {
  static uint32_t seen[4096];
  for (uint32_t seed = 0; seed < 3; seed++) {
    eg_watchdog_t w;
    eg_watchdog_init(&w, seed * 0x7FFFFFFFu);
    for (uint32_t i = 0; i < 4096; i++) {
      w.question = 0;
      seen[i] = eg_watchdog_ask(&w);
      CHECK(seen[i] != 0, "never 0");
      for (uint32_t k = 0; k < i; k++) CHECK(seen[k] != seen[i], "%u and %u", k, i);
    }
  }
  eg_watchdog_t w;
  eg_watchdog_init(&w, 1);
  const uint32_t want[] = {270369, 67634689, 2647435461};
  for (int i = 0; i < 3; i++, w.question = 0)
    CHECK(eg_watchdog_ask(&w) == want[i], "Marsaglia 2003, from 1: %u", w.question);
  eg_watchdog_init(&w, 2);
  CHECK(eg_watchdog_ask(&w) != want[0], "another seed, other questions");
}

int main(void) {
  a_working_host();
  window();
  time_saturates();
  for (size_t i = 0; i < sizeof lies / sizeof *lies; i++) mistaken(&lies[i]);
  every_bit_of_what_was_said();
  every_check_matters();
  messages_lost();
  wrong_even_when_messages_are_lost();
  asked_again();
  answered_twice();
  replayed_for_ever();
  zeros_are_no_messages();
  unasked();
  ticks_go_on();
  questions_differ();
  return 0;
}
