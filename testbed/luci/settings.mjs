// SPDX-License-Identifier: Apache-2.0

// What the settings page takes. Standard input has cases, a JSON array: sections as their fields are filled, { type, id, set }. For each the output
// has what the page says is wrong, and what it would store. The Go test gives the same to the daemon's parser.
import { readFileSync } from 'node:fs';
import { L } from './runtime.mjs';

const form = await L.require('form'), view = await L.require('view'), uci = await L.require('uci');
view.prototype.__init__ = () => {};
form.Map.prototype.render = function() { return this; };
await uci.load('spillway');
const { sections } = (await L.require('view.spillway.settings')).render();
const typed = (type) => sections.find((s) => (s.type || s.id) == type).options;
const empty = (o) => o instanceof form.MultiValue || o instanceof form.DynamicList ? [] : o.default ?? '';

const cases = JSON.parse(readFileSync(0)).map(({ type, id, set }) => {
  const options = typed(type);
  for (const name in set) if (!options.some((o) => o.option == name)) throw new Error(`the page has no ${name} of ${type}`);
  for (const o of options) o.formvalue = () => set[o.option] ?? empty(o);
  const shown = options.filter((o) => o.shown(id));
  return {
    wrong: shown.map((o) => o.wrong(id)).filter(Boolean),
    stored: Object.fromEntries(shown.map((o) => [o.option, o.formvalue(id)]).filter(([, v]) => v.length)),
  };
});
const choices = (o) => o instanceof form.Flag ? ['0', '1'] : o.keys.map(([key]) => key);
const fields = Object.fromEntries(sections.map((s) => [s.type || s.id, Object.fromEntries(s.options.map((o) => [o.option, choices(o)]))]));
console.log(JSON.stringify({ cases, fields }));
