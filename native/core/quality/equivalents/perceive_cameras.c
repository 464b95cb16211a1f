/* SPDX-License-Identifier: Apache-2.0 */
/* Unit: perceive.c
 * Stub: camera_update
 * Unwind: 20
 * Mutants: 0e01105743 5c3dbfaff8
 * Why: the counter meets the number of cameras, which is no more than EG_MAX_CAMERAS; an age
 * may be replaced by its equal. */
uint32_t __CPROVER_uninterpreted_crc(uint32_t crc, uint32_t word);

uint32_t STUB(camera_update)(const eg_camera_t *row, eg_camera_state_t *c, const eg_frame_t *f) {
  call((uint64_t)row->max_age_us << 32 | c->age_us);
  return f->serial;
}

uint32_t eg_crc_u32(uint32_t crc, uint32_t word) {
  return __CPROVER_uninterpreted_crc(crc, word);
}

void eg_flow_fold(eg_state_t *s, eg_check_t check, uint32_t crc) {
  (void)s;
  call((uint64_t)check << 32 | crc);
}

void harness(void) {
  eg_policy_t p;
  eg_state_t s, t;
  eg_input_t in;
  GIVEN(p.cameras <= EG_MAX_CAMERAS);
  t = s;
  uint32_t a = A(eg_cameras_update)(&p, &s, &in);
  side = 1;
  SAME(a == B(eg_cameras_update)(&p, &t, &in));
  SAME(s.repeated_us == t.repeated_us);
  same_calls();
}
