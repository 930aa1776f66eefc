import assert from "node:assert/strict";
import { test } from "node:test";
import { companyWords } from "../src/company.ts";

const workers = (...names: string[]) => names.map((annotator) => ({ annotator, idle_seconds: 0 }));

test("one reads who else is here, and nothing of oneself", () => {
  assert.equal(companyWords(workers("ana"), "ana"), "");
  assert.equal(companyWords(workers("ana", "bob"), "bob"), "ana works here too");
  assert.equal(companyWords(workers("ana", "bob", "eve"), "bob"), "ana and eve work here too");
  assert.equal(companyWords(workers("ana", "bob", "eve", "joe"), "eve"), "ana and 2 others work here too");
});
