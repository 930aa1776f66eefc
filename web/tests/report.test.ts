import assert from "node:assert/strict";
import { test } from "node:test";
import { clock, savedBy, type CaseTime } from "../src/report_page.ts";

function time(total: number, with_model: boolean): CaseTime {
  return { case: 1, annotator: "a", with_model, marking: total, model: 0, refining: 0, review: 0, total, idle: 0 };
}

test("seconds are told as minutes and seconds", () => {
  assert.deepEqual([0, 59.6, 61, 3600].map(clock), ["0:00", "1:00", "1:01", "60:00"]);
});

test("the share saved is of the means of both arms, and none where one is missing", () => {
  assert.deepEqual(savedBy([time(200, false), time(100, false), time(30, true)]), { without: 150, with: 30, share: 0.8 });
  assert.deepEqual(savedBy([time(30, true)]), { without: null, with: 30, share: null });
  assert.deepEqual(savedBy([]), { without: null, with: null, share: null });
});
