// Runs in the page: each function calls the demo services in one way and returns what it saw, or throws.
import * as grpcWeb from "grpc-web";
import protobuf from "protobufjs/light";
import descriptors from "virtual:descriptors";

const GATEWAY = "http://127.0.0.1:8080";
const CHAT = "/ringway.demo.chat.v1.ChatService/";
const root = protobuf.Root.fromJSON(descriptors);

function must(holds, what) {
  if (!holds) throw new Error(what);
}

// A method as generated code would describe it.
function method(path, kind, request, response) {
  const inPackage = path.split(".").slice(0, -1).join(".").slice(1);
  const [asks, tells] = [request, response].map((name) => root.lookupType(`${inPackage}.${name}`));
  return new grpcWeb.MethodDescriptor(
    path,
    kind,
    Object,
    Object,
    (message) => asks.encode(asks.fromObject(message)).finish(),
    (bytes) => tells.toObject(tells.decode(bytes), { longs: Number, enums: String }),
  );
}

const GET = () => method(CHAT + "GetChat", grpcWeb.MethodType.UNARY, "GetChatRequest", "Chat");
const SUBSCRIBE = () => method(CHAT + "Subscribe", grpcWeb.MethodType.SERVER_STREAMING, "SubscribeRequest", "ChatEvent");

const text = () => new grpcWeb.GrpcWebClientBase({ format: "text" });
const binary = () => new grpcWeb.GrpcWebClientBase({ format: "binary" });

function unary(client, request, metadata = {}) {
  return client.unaryCall(GATEWAY + CHAT + "GetChat", request, metadata, GET());
}

async function refused(promise) {
  try {
    await promise;
  } catch (error) {
    return error;
  }
  throw new Error("it was not refused");
}

async function grpcWebUnary(client) {
  const chat = await unary(client, { chatId: "chat-1" });
  must(chat.chatId === "chat-1" && chat.title.length > 0, JSON.stringify(chat));
  const error = await refused(unary(client, { chatId: "no-such" }));
  must(error.code === grpcWeb.StatusCode.NOT_FOUND && error.message.length > 0, `${error.code} ${error.message}`);
  return `${chat.title}; then ${error.code} ${error.message}`;
}

// A method of each of the other services, by gRPC-Web and as JSON.
async function service(client, path, request, response, message, url) {
  const [name] = path.split("/").slice(-1);
  const described = method(path, grpcWeb.MethodType.UNARY, `${name}Request`, response);
  const told = await client.unaryCall(GATEWAY + path, request, {}, described);
  const answer = await fetch(GATEWAY + url);
  const json = await answer.json();
  const [ours, theirs] = [message(told), message(json)];
  must(answer.ok && ours && ours === theirs, `${JSON.stringify(told)} and ${JSON.stringify(json)}`);
  return `${ours}, both ways`;
}

function grpcWebStream(client) {
  return new Promise((resolve, reject) => {
    let events = 0;
    let status;
    const request = { chatId: "chat-1", eventsMax: 2 };
    const stream = client.serverStreaming(GATEWAY + CHAT + "Subscribe", request, {}, SUBSCRIBE());
    stream.on("data", () => (events += 1));
    stream.on("status", (seen) => (status = seen.code));
    stream.on("error", reject);
    stream.on("end", () => (events === 2 ? resolve(`${events} events, status ${status}`) : reject(new Error(`${events} events`))));
  });
}

export const tests = {
  "grpc-web, text, unary and its error": () => grpcWebUnary(text()),
  "grpc-web, binary, unary and its error": () => grpcWebUnary(binary()),
  "grpc-web, text, server streaming": () => grpcWebStream(text()),
  "grpc-web, a deadline": async () => {
    // Nobody speaks in this chat any more, so the stream has no end of its own.
    const began = performance.now();
    const error = await new Promise((resolve, reject) => {
      const request = { chatId: "chat-1", afterMessageId: -1 };
      const metadata = { deadline: String(Date.now() + 500) };
      const stream = text().serverStreaming(GATEWAY + CHAT + "Subscribe", request, metadata, SUBSCRIBE());
      stream.on("error", resolve);
      stream.on("end", () => reject(new Error("it ended")));
    });
    const took = performance.now() - began;
    must(error.code === grpcWeb.StatusCode.DEADLINE_EXCEEDED && took < 5000, `${error.code} after ${took}`);
    return `status ${error.code} after ${Math.round(took)} ms`;
  },
  "grpc-web and fetch, accounts": () => {
    const path = "/ringway.demo.auth.v1.AuthService/GetAccount";
    const url = "/v1/auth/accounts/account-1";
    return service(binary(), path, { accountId: "account-1" }, "Account", (account) => account.mail, url);
  },
  "grpc-web and fetch, employees": () => {
    const path = "/ringway.demo.employee.v1.EmployeeService/GetEmployee";
    return service(text(), path, { employeeId: 1 }, "Employee", (employee) => employee.fullName, "/v1/employees/1");
  },
  "grpc-web and fetch, structure": () => {
    const path = "/ringway.demo.structure.v1.StructureService/ListUniversities";
    const name = (list) => list.universities.map((university) => university.name).join("; ");
    return service(binary(), path, {}, "ListUniversitiesResponse", name, "/v1/universities");
  },
  "fetch, GET": async () => {
    const answer = await fetch(`${GATEWAY}/v1/chats/chat-1`);
    const chat = await answer.json();
    must(answer.ok && chat.chatId === "chat-1", JSON.stringify(chat));
    return `${answer.status} ${chat.title}`;
  },
  "fetch, POST with a preflight": async () => {
    const body = JSON.stringify({ title: "From a page", kind: "CHAT_KIND_GROUP", participants: [{ accountId: "account-1" }] });
    const answer = await fetch(`${GATEWAY}/v1/chats?creatorId=account-1`, {
      method: "POST",
      headers: { "content-type": "application/json", "x-request-timeout": "5s" },
      body,
    });
    const chat = await answer.json();
    must(answer.ok && chat.title === "From a page", JSON.stringify(chat));
    return `${answer.status} ${chat.chatId}`;
  },
  "fetch, an error": async () => {
    const answer = await fetch(`${GATEWAY}/v1/chats/no-such`);
    const status = await answer.json();
    must(answer.status === 404 && status.code === 5 && Array.isArray(status.details), JSON.stringify(status));
    return `${answer.status} ${JSON.stringify(status)}`;
  },
  "fetch, a stream of lines": async () => {
    const answer = await fetch(`${GATEWAY}/v1/chats/chat-1/events?eventsMax=2`, {
      headers: { accept: "application/x-ndjson" },
    });
    let lines = "";
    for await (const chunk of answer.body.pipeThrough(new TextDecoderStream())) lines += chunk;
    const events = lines.trim().split("\n").map((line) => JSON.parse(line));
    must(events.length === 2 && events.every((event) => event.message), lines);
    return `${answer.headers.get("content-type")}, ${events.length} events`;
  },
  "EventSource": () =>
    new Promise((resolve, reject) => {
      const source = new EventSource(`${GATEWAY}/v1/chats/chat-1/events?eventsMax=2`);
      let events = 0;
      source.onmessage = (event) => {
        must(JSON.parse(event.data).message, event.data);
        events += 1;
        if (events === 2) {
          source.close();
          resolve(`${events} events`);
        }
      };
      source.onerror = () => reject(new Error(`after ${events} events`));
    }),
};

globalThis.tests = tests;
