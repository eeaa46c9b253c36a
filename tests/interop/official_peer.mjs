// A participant on an unchanged official TypeScript SDK, told what to do by JSON lines and telling what happens in them.
//
// The same program as official_peer.py, which says what the lines mean, as far as this SDK goes: it has no streams.
// Its one argument is the directory into which npm has installed the release.

import { createHash } from "node:crypto";
import { createRequire } from "node:module";
import path from "node:path";
import { createInterface } from "node:readline";

const require = createRequire(path.join(process.argv[2], "peer.js"));
const sdk = require("@meshagent/meshagent");
const { version } = require("@meshagent/meshagent/package.json");

for (const level of ["log", "info", "warn", "debug"]) {
  console[level] = console.error; // whatever the SDK prints goes to standard error
}

const OWN_TYPES = new Set([
  "messaging.enabled",
  "participant.enabled",
  "participant.disabled",
  "participant.attributes",
]);
const EVENTS = ["participant_added", "participant_removed", "participant_attributes_updated", "messaging_enabled"];
const ROOM_EVENTS = ["disconnected", "reconnected"];

const sha256 = (data) => createHash("sha256").update(data);

function attachmentOf(size, seed) {
  const blocks = Array.from({ length: Math.ceil(size / 32) }, (_, number) => sha256(`${seed}:${number}`).digest());
  return new Uint8Array(Buffer.concat(blocks).subarray(0, size));
}

function tell(event, details = {}) {
  process.stdout.write(JSON.stringify({ event, ...details }) + "\n");
}

function describe(participant) {
  return {
    id: participant.id,
    name: participant.getAttribute("name"),
    role: participant.role ?? null,
    attributes: { ...participant._attributes }, // there is no public way to list them
  };
}

async function makeToken(room, name, role) {
  const token = new sdk.ParticipantToken({
    name,
    projectId: process.env.MESHAGENT_PROJECT_ID,
    apiKeyId: process.env.MESHAGENT_KEY_ID,
  });
  token.addRoomGrant(room);
  if (role) {
    token.addRoleGrant(role);
  }
  token.addApiGrant(sdk.ApiScope.agentDefault());
  return await token.toJwt({ token: process.env.MESHAGENT_SECRET });
}

// What differs between releases: from 0.38 on a client makes its connections itself.
function makeClient(options) {
  const { WebSocketClientProtocol: Protocol } = sdk;
  return new sdk.RoomClient(
    Protocol.createFactory ? { protocolFactory: Protocol.createFactory(options) } : { protocol: new Protocol(options) },
  );
}

async function enter(client) {
  await client.start();
  while (client.localParticipant === null) { // 0.35 comes back when the room is ready and it does not know itself
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

async function leave(client) {
  client.dispose();
  await client.waitForClose?.();
}

class Peer {
  room = null;
  known = new Map(); // participants as last seen, by id: whoever is removed is no longer listed
  waiting = [];

  async connect({ room, name, environ, role, token }) {
    Object.assign(process.env, environ);
    const url = sdk.websocketRoomUrl({ roomName: room, apiUrl: process.env.MESHAGENT_API_URL });
    const jwt = token ?? (await makeToken(room, name, role));
    const client = makeClient({ url, token: jwt });
    client.messaging.on("message", ({ message }) => this.onMessage(message));
    for (const event of EVENTS) {
      client.messaging.on(event, ({ message }) => this.onEvent(event, message));
    }
    for (const event of ROOM_EVENTS) {
      client.on?.(event, () => tell(event)); // 0.38
    }
    await enter(client);
    this.room = client;
    return { participant: describe(client.localParticipant), room_name: client.roomName };
  }

  async enable() {
    await this.room.messaging.enable();
  }

  async roster() {
    return { participants: this.others().map(describe) };
  }

  async wait_for_peer({ name }) {
    for (;;) {
      const found = this.others().find((other) => other.getAttribute("name") === name);
      if (found) {
        return { participant: describe(found) };
      }
      await new Promise((resolve) => this.waiting.push(resolve));
    }
  }

  async send({ to, type, message, size = null, seed = 0 }) {
    const attachment = size === null ? undefined : attachmentOf(size, seed);
    await this.room.messaging.sendMessage({ to: this.find(to), type, message, attachment });
  }

  async broadcast({ type, message, size = null, seed = 0 }) {
    const attachment = size === null ? undefined : attachmentOf(size, seed);
    await this.room.messaging.broadcastMessage({ type, message, attachment });
  }

  async set_attribute({ name, value }) {
    this.room.localParticipant.setAttribute(name, value);
  }

  async disable() {
    await this.room.messaging.disable();
  }

  async use_storage() {
    return { exists: await this.room.storage.exists("nothing") };
  }

  async close() {
    const room = this.room;
    this.room = null;
    if (room !== null) {
      await leave(room);
    }
  }

  onMessage(message) {
    if (OWN_TYPES.has(message.type)) {
      return; // this SDK hands them to programs as well
    }
    const attachment = message.attachment ?? new Uint8Array();
    tell("message", {
      type: message.type,
      message: message.message,
      sender: message.fromParticipantId,
      size: attachment.length,
      sha256: sha256(attachment).digest("hex"),
    });
  }

  onEvent(event, message) {
    for (const other of this.others()) {
      this.known.set(other.id, describe(other));
    }
    const id = event === "participant_attributes_updated" ? message.fromParticipantId : message.message.id;
    tell(event, event === "messaging_enabled" ? {} : { participant: this.known.get(id) });
    this.waiting.splice(0).forEach((resolve) => resolve());
  }

  others() {
    return this.room.messaging.remoteParticipants;
  }

  find(name) {
    const named = this.others().find((other) => name === other.id || name === other.getAttribute("name"));
    return named ?? new sdk.RemoteParticipant(this.room, name, "user");
  }
}

const peer = new Peer();
tell("hello", { release: `ts-${version}`, runs_on: `node ${process.versions.node}` });
for await (const line of createInterface({ input: process.stdin })) {
  const { ref, do: command, ...options } = JSON.parse(line);
  try {
    tell("done", { ref, ...(await peer[command](options)) });
  } catch (error) {
    tell("failed", { ref, error: error.constructor.name, text: String(error.message ?? error) });
  }
}
await peer.close();
process.exit(0);
