// Starts the program with its demo services, serves a page at http://localhost:8081, and runs the page's calls in
// headless Chromium. Exit code 0 if all of them did what they should.
//
//   RINGWAY   the program to run instead of `cargo run --release`
//   CHROMIUM  the browser to run instead of the first one found
import { spawn } from "node:child_process";
import { existsSync, readdirSync } from "node:fs";
import { createServer } from "node:http";
import path from "node:path";
import { fileURLToPath } from "node:url";
import * as esbuild from "esbuild";
import { chromium } from "playwright-core";
import protobuf from "protobufjs";

const here = path.dirname(fileURLToPath(import.meta.url));
const repository = path.join(here, "..", "..");
const PAGE = 8081;

// The messages of the demo services, as the page reads and writes them.
async function descriptors() {
  const root = new protobuf.Root();
  const protos = path.join(repository, "proto");
  const wellKnown = path.dirname(fileURLToPath(import.meta.resolve("protobufjs")));
  root.resolvePath = (_origin, target) => {
    const ours = path.join(protos, target);
    return existsSync(ours) ? ours : path.join(wellKnown, target);
  };
  const services = path.join("ringway", "demo");
  const files = readdirSync(path.join(protos, services), { recursive: true }).filter((name) => name.endsWith(".proto"));
  await root.load(files.map((name) => path.join(services, name)));
  return root.toJSON();
}

async function bundle() {
  const contents = JSON.stringify(await descriptors());
  const virtual = {
    name: "descriptors",
    setup(build) {
      build.onResolve({ filter: /^virtual:descriptors$/ }, () => ({ path: "descriptors", namespace: "virtual" }));
      build.onLoad({ filter: /.*/, namespace: "virtual" }, () => ({ contents, loader: "json" }));
    },
  };
  const entryPoints = [path.join(here, "page.js")];
  const built = await esbuild.build({ entryPoints, bundle: true, write: false, format: "iife", plugins: [virtual] });
  return built.outputFiles[0].text;
}

// The program, once it has said what to try.
function startGateway() {
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

function servePage(script) {
  const server = createServer((request, response) => {
    if (request.url === "/page.js") {
      response.setHeader("content-type", "text/javascript; charset=utf-8");
      response.end(script);
    } else {
      response.setHeader("content-type", "text/html; charset=utf-8");
      response.end("<!doctype html><title>Ringway</title><script src=/page.js></script>");
    }
  });
  return new Promise((resolve) => server.listen(PAGE, "127.0.0.1", () => resolve(server)));
}

function browser() {
  const known = ["/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome"];
  return process.env.CHROMIUM ?? known.find((name) => existsSync(name));
}

const executablePath = browser();
if (!executablePath) throw new Error("no Chromium was found: name one in CHROMIUM");
const server = await servePage(await bundle());
const chrome = await chromium.launch({ executablePath, args: ["--no-sandbox"] });
const gateway = await startGateway();
let failed = 0;
try {
  console.log(`Chromium ${chrome.version()}`);
  const page = await chrome.newPage();
  page.on("pageerror", (error) => console.error(error));
  await page.goto(`http://localhost:${PAGE}/`);
  for (const name of await page.evaluate(() => Object.keys(globalThis.tests))) {
    const run = page.evaluate((name) => globalThis.tests[name]().then((seen) => seen ?? ""), name);
    const late = new Promise((_, reject) => setTimeout(() => reject(new Error("not done after 10 s")), 10_000).unref());
    try {
      console.log(`ok      ${name}: ${await Promise.race([run, late])}`);
    } catch (error) {
      failed += 1;
      console.log(`FAILED  ${name}: ${error.message}`);
    }
  }
} finally {
  await chrome.close();
  server.close();
  gateway.removeAllListeners("exit");
  gateway.kill("SIGTERM");
}
console.log(failed === 0 ? "all passed" : `${failed} failed`);
process.exitCode = failed === 0 ? 0 : 1;
