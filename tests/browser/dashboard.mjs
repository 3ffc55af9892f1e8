// Opens the dashboard of a gateway under load in headless Chromium as people see it: a desktop, a phone, and both in
// the dark. Fails if the page logs an error, asks another host for anything, is wider than the screen, shows no
// figures, or has text that can hardly be read. Leaves a picture of each.
//
//   node dashboard.mjs [FOLDER]     FOLDER takes the pictures; ./pictures by default
//
//   ADMIN     the admin address of a gateway under load; by default the program is started with its demo services,
//             and called all the time
//   RINGWAY   the program to run instead of `cargo run --release`
//   CHROMIUM  the browser to run instead of the first one found
import { spawn } from "node:child_process";
import { existsSync, mkdirSync } from "node:fs";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { chromium } from "playwright-core";

const here = path.dirname(fileURLToPath(import.meta.url));
const repository = path.join(here, "..", "..");
const pictures = path.resolve(process.argv[2] ?? path.join(here, "pictures"));
const GATEWAY = "http://127.0.0.1:8080";

const VIEWS = [
  { name: "desktop", width: 1280, height: 900, scheme: "light" },
  { name: "desktop-dark", width: 1280, height: 900, scheme: "dark" },
  { name: "phone", width: 390, height: 844, scheme: "light" },
  { name: "phone-dark", width: 390, height: 844, scheme: "dark" },
];

function start() {
  const program = process.env.RINGWAY;
  const [command, args] = program ? [path.resolve(program), []] : ["cargo", ["run", "--release", "--quiet"]];
  const child = spawn(command, args, { cwd: repository, stdio: ["ignore", "pipe", "inherit"] });
  return new Promise((resolve, reject) => {
    let said = "";
    child.stdout.on("data", (bytes) => {
      said += bytes;
      if (said.includes("Try, in another terminal")) resolve(child);
    });
    child.on("error", reject);
    child.on("exit", (code) => reject(new Error(`the program has ended with ${code}`)));
  });
}

// Calls until it is told to stop: good ones, and some that are refused.
async function load(stopped) {
  const paths = ["/v1/employees/1", "/v1/employees/2", "/v1/chats/chat-1", "/v1/universities", "/v1/employees/0"];
  for (let at = 0; !stopped(); at += 1) {
    await fetch(GATEWAY + paths[at % paths.length]).then((answer) => answer.arrayBuffer());
    if (at % 20 === 0) await new Promise((resolve) => setTimeout(resolve, 10));
  }
}

function browser() {
  const known = ["/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome"];
  return process.env.CHROMIUM ?? known.find((name) => existsSync(name));
}

// Runs in the page: what a person would stumble over.
function look() {
  const wrong = [];
  const wide = document.documentElement.scrollWidth - document.documentElement.clientWidth;
  if (wide > 0) wrong.push(`the page is ${wide} px wider than the screen`);
  const parse = (text) => (text.match(/[\d.]+/g) ?? []).map(Number);
  const light = ([r, g, b]) => {
    const part = (value) => (value <= 10 ? value / 3294 : ((value / 255 + 0.055) / 1.055) ** 2.4);
    return 0.2126 * part(r) + 0.7152 * part(g) + 0.0722 * part(b);
  };
  // The first background below an element that can be seen.
  const ground = (element) => {
    for (let at = element; at; at = at.parentElement) {
      const colour = parse(getComputedStyle(at).backgroundColor);
      if (colour.length === 3 || colour[3] > 0.5) return colour;
    }
    return [255, 255, 255];
  };
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  for (let node = walker.nextNode(); node; node = walker.nextNode()) {
    const element = node.parentElement;
    const text = node.textContent.trim();
    if (!text || !element.checkVisibility() || ["SCRIPT", "STYLE"].includes(element.tagName)) continue;
    const style = getComputedStyle(element);
    const ink = parse(element instanceof SVGElement ? style.fill : style.color);
    const [a, b] = [light(ink), light(ground(element))].sort((x, y) => y - x);
    const contrast = (a + 0.05) / (b + 0.05);
    // WCAG 2.2, level AA.
    if (contrast < 4.5) wrong.push(`"${text.slice(0, 40)}" has a contrast of ${contrast.toFixed(1)}`);
    if (parseFloat(style.fontSize) < 11) wrong.push(`"${text.slice(0, 40)}" is ${style.fontSize} high`);
  }
  const filled = (id) => document.getElementById(id)?.textContent.trim().length > 0;
  for (const id of ["tiles", "clusters", "workers", "codes"]) if (!filled(id)) wrong.push(`#${id} is empty`);
  for (const id of ["calls", "latency"]) {
    if (!document.querySelector(`#${id} path, #${id} polyline`)) wrong.push(`#${id} has no line`);
  }
  return wrong;
}

async function view(chrome, url, { name, width, height, scheme }) {
  const wrong = [];
  const context = await chrome.newContext({ viewport: { width, height }, colorScheme: scheme, deviceScaleFactor: 2 });
  const page = await context.newPage();
  page.on("console", (message) => message.type() === "error" && wrong.push(`it logs: ${message.text()}`));
  page.on("pageerror", (error) => wrong.push(`it throws: ${error.message}`));
  page.on("request", (request) => {
    if (!request.url().startsWith(url) && !request.url().startsWith("data:")) wrong.push(`it asks ${request.url()}`);
  });
  page.on("requestfailed", (request) => wrong.push(`${request.url()} fails: ${request.failure()?.errorText}`));
  await page.goto(url);
  // Some figures are rates: they need a few looks, a second apart.
  await page.waitForFunction(() => document.querySelectorAll("#calls path, #calls polyline").length > 0);
  await page.waitForTimeout(8000);
  wrong.push(...(await page.evaluate(look)));
  await page.screenshot({ path: path.join(pictures, `${name}.png`), fullPage: true });
  page.removeAllListeners("requestfailed");
  await context.close();
  return wrong.map((what) => `${name}: ${what}`);
}

mkdirSync(pictures, { recursive: true });
const started = process.env.ADMIN ? undefined : await start();
let ended = false;
const calls = started ? load(() => ended) : undefined;
const url = `http://${process.env.ADMIN ?? "127.0.0.1:9901"}/`;
const args = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"];
args.push("--disable-background-networking", "--disable-component-update");
const chrome = await chromium.launch({ executablePath: browser(), args });
const wrong = (await Promise.all(VIEWS.map((it) => view(chrome, url, it)))).flat();
ended = true;
await calls;
await chrome.close();
started?.removeAllListeners("exit");
started?.kill("SIGTERM");
for (const line of [...new Set(wrong)]) console.log(line);
console.log(`${VIEWS.length} views, ${wrong.length} wrong; pictures in ${pictures}`);
process.exitCode = wrong.length > 0 ? 1 : 0;
