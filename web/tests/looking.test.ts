import assert from "node:assert/strict";
import { test } from "node:test";
import { Looking } from "../src/looking.ts";

test("only the slice at which one rests is told, and it is asked for until it is ready", async () => {
  const asked: string[] = [];
  const states: string[] = [];
  let answers = 2;
  await new Promise<void>((done) => {
    const looking = new Looking({
      look: async (axis, index) => (asked.push(`look ${axis}/${index}`), false),
      ask: async (axis, index) => (asked.push(`ask ${axis}/${index}`), --answers === 0),
      told: (state) => {
        states.push(state);
        if (state === "ready") done();
      },
    });
    looking.at(0, 3);
    looking.at(0, 4);
    looking.at(0, 4);
  });
  assert.deepEqual(asked, ["look 0/4", "ask 0/4", "ask 0/4"]);
  assert.deepEqual(states, ["preparing", "preparing", "ready"]);
});
