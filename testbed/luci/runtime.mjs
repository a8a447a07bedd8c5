// SPDX-License-Identifier: Apache-2.0

// The stand-in of LuCI's runtime without a browser, on the harness at $URL.
const base = process.env.URL;

globalThis.window = globalThis;
globalThis.document = {};
globalThis.L_ENV = { catalogue: {}, resource: `${base}/luci-static/resources`, ubuspath: `${base}/ubus`, sessionid: 'admin', writable: true };
(0, eval)(await (await fetch(`${base}/harness/runtime.js`)).text());
export const L = globalThis.L;
