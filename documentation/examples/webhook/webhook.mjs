// A webhook that decides about tokens, with nothing but Node.js.
//
// PORT=9000 TOKEN_SECRET=... HOOK_SECRET=... node webhook.mjs
import { createHmac, timingSafeEqual } from "node:crypto";
import { createServer } from "node:http";

const { TOKEN_SECRET, HOOK_SECRET, PORT = "9000" } = process.env;
if (!TOKEN_SECRET || !HOOK_SECRET) throw new Error("TOKEN_SECRET and HOOK_SECRET are needed");
const LONGEST_BODY = 64 * 1024;

function equal(a, b) {
  return a.length === b.length && timingSafeEqual(a, b);
}

// Whether the call is signed with our secret, and lately: a recorded call is of no use after a minute.
function isFromTheProxy(headers, body) {
  const timestamp = headers["x-revenprox-timestamp"] ?? "";
  if (!/^\d+$/.test(timestamp) || Math.abs(Date.now() / 1000 - Number(timestamp)) > 60) return false;
  const expected = createHmac("sha256", HOOK_SECRET).update(`${timestamp}.`).update(body).digest("hex");
  return equal(Buffer.from(`v1=${expected}`), Buffer.from(headers["x-revenprox-signature"] ?? ""));
}

// The claims of a token of ours that is still valid; anything else is thrown.
function claimsOf(token) {
  const [head, payload, signature] = token.split(".");
  if (JSON.parse(Buffer.from(head, "base64url")).alg !== "HS256") throw new Error("this token is not signed with HS256");
  const expected = createHmac("sha256", TOKEN_SECRET).update(`${head}.${payload}`).digest();
  if (!equal(expected, Buffer.from(signature ?? "", "base64url"))) throw new Error("the signature is wrong");
  const claims = JSON.parse(Buffer.from(payload, "base64url"));
  if (!(claims.exp > Date.now() / 1000)) throw new Error("the token has expired");
  if (typeof claims.sub !== "string") throw new Error("the token names nobody");
  return claims;
}

// The verdict about a token: whether it is good, whose it is, and what may be done with it.
function decide({ jwt }) {
  try {
    const { sub, exp, role } = claimsOf(jwt);
    const publish = role === "backend" ? ["user-*", "news"] : [];
    return { valid: true, sub, exp: Math.floor(exp), subscribe: [`user-${sub}-*`, "news"], publish };
  } catch (error) {
    return { valid: false, reason: error.message };
  }
}

async function bodyOf(request) {
  const chunks = [];
  let size = 0;
  for await (const chunk of request) {
    size += chunk.length;
    if (size > LONGEST_BODY) throw new Error("the body is too long");
    chunks.push(chunk);
  }
  return Buffer.concat(chunks);
}

const server = createServer(async (request, response) => {
  const answer = (status, content) => response.writeHead(status, { "Content-Type": "application/json" }).end(JSON.stringify(content));
  try {
    const body = await bodyOf(request);
    if (!isFromTheProxy(request.headers, body)) return answer(401, { valid: false, reason: "the call is not signed" });
    answer(200, decide(JSON.parse(body)));
  } catch (error) {
    answer(400, { valid: false, reason: error.message });
  }
});
server.listen(Number(PORT), "127.0.0.1");
