// SPDX-License-Identifier: Apache-2.0

// What of the daemon's answers reaches the pages: api.js on the stand-in of LuCI's runtime, without a browser. The Go test starts the
// harness and runs this with its URL in the environment.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { L } from './runtime.mjs';

const real = globalThis.fetch;
let silent = false; // the method doctor does not answer in time

globalThis.fetch = (url, options) => {
  const asks = options?.body?.includes('"doctor"');
  if (asks) assert.ok(L.env.rpctimeout >= 60, `LuCI gives an examination up after ${L.env.rpctimeout || 20} s`);
  return asks && silent ? Promise.reject(new Error('XHR request timed out')) : real(url, options);
};
const api = await L.require('spillway.api');

test('a role that is refused is told', async () => {
  await api.set('lte', 'off');
  await api.set('lte', 'overflow');
  await assert.rejects(api.set('lte', 'spare'));
  await assert.rejects(api.set('none', 'off'));
});

test('an examination may take its time', async () => {
  assert.equal((await api.doctor()).ok, false);
  assert.equal(L.env.rpctimeout, undefined, 'other calls are as before');
});

test('an examination that takes too long is no daemon that does not run', async () => {
  silent = true;
  assert.equal((await api.doctor()).late, true);
  silent = false;
});

test('a link is called what it is', async () => {
  const words = await L.require('spillway.words');
  const link = (role, state, mode, more) => words.link({ usable: true, role, state, ...more }, mode);
  assert.equal(link('overflow', 'active', 'overflow'), 'In use, overflow');
  assert.equal(link('primary', 'active', 'overflow'), 'In use'); // the second of two
  assert.equal(link('overflow', 'active', 'bond'), 'In use');
  assert.equal(link('overflow', 'active', 'overflow', { resting: true }), 'Resting');
  assert.equal(link('overflow', 'off', 'bond'), 'Not in use');
  assert.equal(link('overflow', 'off', 'bond', { usable: false }), 'Not usable');
});
