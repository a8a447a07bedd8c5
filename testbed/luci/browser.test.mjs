// SPDX-License-Identifier: Apache-2.0

// Drives the LuCI pages in a headless Chromium. The Go test starts the harness and runs this with
// URL, SCREENS (folder for pictures), CHROMIUM and, against a real daemon, DAEMON=1 in the environment.
import assert from 'node:assert/strict';
import { after, before, test as always } from 'node:test';
import { chromium } from 'playwright-core';

const { URL: base, SCREENS: screens, CHROMIUM: executablePath, DAEMON: daemon } = process.env;
const patience = { timeout: +(process.env.PATIENCE || 30000) };
let browser;

// Against a daemon only what moves is tried; looks and languages are the same.
const test = always, look = daemon ? () => {} : always;

before(async () => { browser = await chromium.launch({ executablePath, args: ['--no-sandbox', '--disable-gpu'] }); });
after(async () => { await browser.close(); });

// A page of its own, with everything counted that must not happen: errors, and requests to elsewhere.
async function open(path, { query = '', width = 1180, height = 900, past = false, gone = false, marked = false } = {}) {
  const context = await browser.newContext({ viewport: { width, height }, reducedMotion: 'no-preference' });
  if (past) await context.addInitScript(fiveMinutes);
  if (marked) await context.route('**/ubus', async (r) => {
    const answer = await (await r.fetch()).text();
    await r.fulfill({ contentType: 'application/json', body: answer.replace(/"(why|what|remedy|command|name|rule|link|source|at)":"/g, '$&<s>&lt;') });
  });
  if (gone) await context.route('**/ubus', (r) => r.fulfill({ json: { jsonrpc: '2.0', id: 1, result: [4] } })); // not found
  const page = await context.newPage();
  page.setDefaultTimeout(patience.timeout);
  page.trouble = [];
  page.on('pageerror', (e) => page.trouble.push(String(e)));
  page.on('console', (m) => { if (m.type() == 'error') page.trouble.push(m.text()); });
  page.on('request', (r) => { if (!r.url().startsWith(base) && !r.url().startsWith('data:')) page.trouble.push('foreign request ' + r.url()); });
  await page.goto(`${base}/cgi-bin/luci/${path}?${query}`);
  await page.waitForSelector('body[data-ready=yes]', { state: 'attached' });
  return page;
}

// A past for the graphs, so that a picture shows what a page looks like that has been open for a while.
function fiveMinutes() {
  const now = Date.now() / 1000, dsl = [], lte = [];
  for (let t = now - 300; t < now; t += 2) {
    const demand = 48e6 + 30e6 * Math.sin(t / 25) + 3e6 * Math.sin(t / 3), over = demand > 47e6 ? 1 : 0;
    dsl.push({ t, d: Math.min(demand, 49e6), u: 4e6 + demand / 20, o: over });
    lte.push({ t, d: over ? Math.max(0, demand - 49e6) : 0, u: over ? 2e6 : 0, o: over });
  }
  sessionStorage.setItem('spillway-history', JSON.stringify({ dsl, lte }));
}

async function close(page, name) {
  if (name) await page.screenshot({ path: `${screens}/${name}.png`, fullPage: true });
  const wide = await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
  assert.equal(wide, 0, `${name}: the page is ${wide} pixels wider than the screen`);
  assert.deepEqual(page.trouble, []);
  await page.context().close();
}

const status = 'admin/network/spillway/status', settings = 'admin/network/spillway/settings', diagnostics = 'admin/network/spillway/diagnostics';
const down = (page, link) => page.getAttribute(`.sw-picture g[data-link=${link}]`, 'data-down').then(Number);
const state = (page, link) => page.getAttribute(`.sw-card[data-link=${link}] .sw-badge`, 'data-state');

// Saves and applies; what the page answers must be success.
async function apply(page) {
  await page.click('.cbi-button-apply');
  const said = page.locator('.alert-message').first();
  await said.waitFor();
  assert.match(await said.getAttribute('class'), /success/, await said.textContent());
}

// Polls a condition of the page, for half a minute at most.
async function until(what, fn) {
  const end = Date.now() + patience.timeout;
  while (Date.now() < end) {
    if (await fn()) return;
    await new Promise((r) => setTimeout(r, 200));
  }
  assert.fail('never: ' + what);
}

test('the status page moves with the traffic', async () => {
  const page = await open(status);
  const figures = async () => [await down(page, 'dsl'), await down(page, 'lte')].join(), words = () => page.textContent('.sw-links');
  const first = await figures(), said = await words();
  await until('the figures moved', async () => await figures() != first && await words() != said);
  assert.ok((await page.textContent('.sw-why strong')).length > 5, 'a sentence says why');
  await until('a graph has a line', async () => ((await page.getAttribute('.sw-card[data-link=dsl] .sw-line', 'd')) || '').includes('L'));
  await until('connections are listed', async () => await page.locator('.sw-flows tbody tr').count() > (daemon ? 0 : 5));
  await until('transitions are listed', async () => await page.locator('.sw-timeline li').count() > 0);
  if (!daemon) {
    await page.click('.sw-pages button >> nth=1');
    await until('the next page of connections', async () => (await page.textContent('.sw-pages span')).startsWith('21 '));
    assert.ok(await page.locator('.sw-card[data-link=lte] .sw-quota p').isVisible());
    await until('overflow is shaded', async () => await page.locator('.sw-card[data-link=lte] .sw-shade rect').count() > 0);
  }
  await close(page, 'status-light');
});

test('a role changed on the settings page moves the traffic', async () => {
  const page = await open(settings);
  const role = page.locator('[data-section=dsl][data-name=role] select');
  assert.equal(await role.inputValue(), 'primary');
  await role.selectOption('off');
  await page.locator('[data-section=lte][data-name=role] select').selectOption('primary');
  await apply(page);
  await close(page);
  const watch = await open(status);
  await until('dsl is off and lte carries', async () => await state(watch, 'dsl') == 'off' && await state(watch, 'lte') == 'first' && await down(watch, 'lte') > 1e5);
  await close(watch, 'status-role-changed');
  const back = await open(settings);
  await back.locator('[data-section=dsl][data-name=role] select').selectOption('primary');
  await back.locator('[data-section=lte][data-name=role] select').selectOption('overflow');
  await apply(back);
  await close(back);
  const again = await open(status);
  await until('dsl is first again', async () => await state(again, 'dsl') == 'first');
  await close(again);
});

test('an unticked flag stays unticked', async () => {
  const flag = '[data-section=policy][data-name=never_worse] input';
  const page = await open(settings);
  assert.equal(await page.isChecked(flag), true);
  await page.uncheck(flag);
  await apply(page);
  await close(page);
  const again = await open(settings);
  assert.equal(await again.isChecked(flag), false, 'UCI lost the flag and the default came back');
  await again.check(flag);
  await apply(again);
  await close(again);
});

look('a wrong value is refused at its field', async () => {
  const page = await open(settings);
  await page.fill('[data-section=lte][data-name=quota] input', 'lots');
  await page.click('.cbi-button-apply');
  await page.waitForSelector('.alert-message.danger');
  assert.match(await page.textContent('[data-section=lte][data-name=quota] .error'), /50GB/);
  await close(page);
});

look('what would not start is not switched on', async () => {
  const page = await open(settings);
  await page.locator('.cbi-section[data-type=concentrator] .cbi-button-remove').click();
  await page.click('.cbi-button-apply');
  const said = page.locator('.alert-message.danger').first();
  await said.waitFor();
  assert.match(await said.textContent(), /no concentrator/);
  await close(page);
});

test('a rule and a link can be added and taken away', async () => {
  const page = await open(settings);
  const rules = page.locator('.cbi-section[data-type=rule]');
  const before = await rules.locator('.cbi-section-table-row').count();
  await rules.locator('.cbi-button-add').click();
  const row = rules.locator('.cbi-section-table-row').last();
  await row.locator('[data-name=name] input').fill('games');
  await row.locator('[data-name=dst_port] textarea').fill('27015-27030');
  await row.locator('[data-name=action] select').selectOption('primary');
  await apply(page);
  await close(page);
  const again = await open(settings);
  const kept = again.locator('.cbi-section[data-type=rule] .cbi-section-table-row');
  assert.equal(await kept.count(), before + 1);
  assert.equal(await kept.last().locator('[data-name=dst_port] textarea').inputValue(), '27015-27030');
  await kept.last().locator('.cbi-button-remove').click();
  await apply(again);
  await close(again);
});

test('who may only read sees everything and changes nothing', async () => {
  const page = await open(status, { query: 'session=viewer' });
  assert.equal(await page.locator('.sw-card select').count(), 0);
  const denied = await page.evaluate(() => L.require('rpc').then((rpc) => rpc.call('spillway', 'set', { link: 'dsl', role: 'off' })).then(() => '', (e) => e.message));
  assert.equal(denied, 'Access denied');
  await close(page);
});

test('diagnostics name the remedy', async () => {
  const page = await open(diagnostics);
  await page.waitForSelector('.sw-checks li');
  if (!daemon) {
    const failed = page.locator('.sw-checks li[data-result=fail]');
    assert.match(await failed.textContent(), /rp_filter/);
    assert.match(await failed.locator('code').textContent(), /sysctl/);
    assert.match(await page.textContent('.sw-checks li[data-check="link lte/convert answers"] div'), /^link lte\/convert answersNot checked: link lte\/rp_filter has to be well first\.$/);
    await page.click('.alert-message a'); // which the summary names
    assert.equal(await page.evaluate(() => document.querySelector(location.hash).dataset.check), await failed.getAttribute('data-check'));
  }
  await page.click('.cbi-button-action');
  await until('checked again', async () => !(await page.locator('.cbi-button-action').isDisabled()));
  await close(page, 'diagnostics-light');
});

// What the daemon says is text, whatever is in it.
look('what the daemon says is no markup', async () => {
  for (const [path, where] of [[status, '.sw-timeline'], [diagnostics, '.sw-checks'], ['admin/status/overview', '.sw']]) {
    const page = await open(path, { marked: true });
    await page.waitForFunction((w) => document.querySelector(w)?.textContent.includes('<s>&lt;'), where);
    assert.equal(await page.locator('s').count(), 0, path);
    await page.context().close();
  }
});

look('a daemon that is not running is told, with what to do', async () => {
  for (const [path, where] of [[status, '.alert-message'], [diagnostics, '.alert-message'], ['admin/status/overview', '.cbi-section em']]) {
    const page = await open(path, { gone: true });
    assert.match(await page.textContent(where), /Settings|not running/);
    await close(page, path == status ? 'status-stopped' : null);
  }
});

const small = { width: 375, height: 720 };
for (const [name, path, kinds] of [
  ['status', status, { light: {}, dark: { query: 'theme=dark' }, phone: small, de: { query: 'lang=de' }, fr: { query: 'lang=fr&theme=dark', ...small } }],
  ['settings', settings, { light: {}, dark: { query: 'theme=dark' }, phone: small, de: { query: 'lang=de' }, fr: { query: 'lang=fr', ...small } }],
  ['diagnostics', diagnostics, { dark: { query: 'theme=dark' }, phone: small, de: { query: 'lang=de' } }],
  ['overview', 'admin/status/overview', { light: {}, dark: { query: 'theme=dark' }, phone: small }],
]) {
  for (const [kind, options] of Object.entries(kinds)) {
    look(`${name}: ${kind}`, async () => {
      const page = await open(path, { ...options, past: name == 'status' && !daemon });
      if (name == 'status') await page.waitForTimeout(2200); // one turn of the poll
      if (name == 'status' && kind == 'de') assert.match(await page.textContent('.sw-card[data-link=lte] .sw-quota p'), /bis \d+\. \p{L}/u, 'a German date');
      await close(page, `${name}-${kind}`);
    });
  }
}
