// A certified OpenID provider on a free port of 127.0.0.1, for stories that need an issuer keyfob's authors did not write.
//
//   node server.mjs --access-ttl SECONDS [--dpop]      in a directory with node_modules
//
// Standard output holds one JSON document a line: {"event":"ready","issuer":..} first, then what happened. Tokens are
// not printed. The server ends with its standard input, so that it cannot outlive the tests that started it.
//
// People log in with any name and password on the pages that oidc-provider brings along for development.

import { createServer } from 'node:http';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { parseArgs } from 'node:util';

const { values: options } = parseArgs({
  options: { 'access-ttl': { type: 'string' }, dpop: { type: 'boolean', default: false } },
});
const accessTtl = Number(options['access-ttl']);

// The packages are installed outside the source tree, where an import would not look for them.
const installed = createRequire(join(process.cwd(), 'package.json'));
const { Provider } = await import(pathToFileURL(installed.resolve('oidc-provider')));

// The provider's advice to whoever runs it in earnest.
console.info = console.error;

const report = (event) => process.stdout.write(`${JSON.stringify(event)}\n`);

const server = createServer();
await new Promise((listening) => server.listen(0, '127.0.0.1', listening));
const issuer = `http://127.0.0.1:${server.address().port}`;

// Characters that RFC 6749 (appendix A.1, A.2) allows and that an encoder can get wrong. UTF-8 is not among them.
const awkward = (method) => ({ id: `ci:build 100%+&=?/#"\\~${method}`, secret: 's3cret:%20+%2B &grant_type=x;"\\\'/?#~%' });
const confidential = { basic: awkward('basic'), post: awkward('post') };

const noRedirects = { redirect_uris: [], response_types: [] };
const publicClient = { token_endpoint_auth_method: 'none', application_type: 'native' };
const clients = [
  {
    client_id: 'cli',
    ...publicClient,
    grant_types: ['authorization_code', 'refresh_token', 'urn:ietf:params:oauth:grant-type:device_code'],
    response_types: ['code'],
    // Any port will do for a native client on loopback (RFC 8252, section 7.3).
    redirect_uris: ['http://127.0.0.1/callback', 'http://localhost/callback'],
  },
  ...Object.entries(confidential).map(([method, { id, secret }]) => ({
    client_id: id,
    client_secret: secret,
    token_endpoint_auth_method: `client_secret_${method}`,
    grant_types: ['client_credentials'],
    ...noRedirects,
  })),
  // A resource server: it asks whether a token is good (RFC 7662).
  {
    client_id: 'resource-server',
    client_secret: 'resource-server-secret',
    token_endpoint_auth_method: 'client_secret_basic',
    grant_types: [],
    ...noRedirects,
  },
];

const provider = new Provider(issuer, {
  clients,
  scopes: ['openid', 'offline_access', 'all'],
  claims: { openid: ['sub'] },
  cookies: { keys: ['cookies of a test'] },
  features: {
    clientCredentials: { enabled: true },
    // Proofs of possession (RFC 9449). It binds access tokens as well, and wants to see its own nonce.
    dPoP: options.dpop
      ? { enabled: true, nonceSecret: Buffer.alloc(32, 'nonces of a test'), requireNonce: () => true }
      : { enabled: false },
    deviceFlow: { enabled: true, charset: 'base-20', mask: '****-****' },
    introspection: { enabled: true },
    revocation: { enabled: true },
  },
  findAccount: (_ctx, sub) => ({ accountId: sub, claims: () => ({ sub }) }),
  // Presenting a replaced refresh token again ends the whole login (RFC 9700, section 4.14.2).
  rotateRefreshToken: true,
  ttl: {
    AccessToken: accessTtl,
    ClientCredentials: accessTtl,
    DeviceCode: 600,
    Grant: 86400,
    IdToken: 3600,
    Interaction: 600,
    RefreshToken: 86400,
    Session: 86400,
  },
});

const grantOf = (ctx) => ctx.oidc.params?.grant_type?.replace('urn:ietf:params:oauth:grant-type:', '');
provider.on('grant.success', (ctx) => {
  // An authorization parameter has no place in a token request, but some clients send it.
  const repeats = ctx.oidc.body.code_challenge !== undefined;
  const type = ctx.body?.token_type;
  report({ event: 'token', grant: grantOf(ctx), client: ctx.oidc.client.clientId, repeats, type });
});
provider.on('grant.error', (ctx, error) => {
  report({ event: 'refused', grant: grantOf(ctx), client: ctx.oidc.client?.clientId, error: error.error });
});
provider.on('refresh_token.consumed', () => report({ event: 'refresh_token_consumed' }));
provider.on('refresh_token.destroyed', () => report({ event: 'refresh_token_revoked' }));
provider.on('access_token.destroyed', () => report({ event: 'access_token_revoked' }));
provider.on('grant.revoked', () => report({ event: 'login_ended' }));
provider.on('server_error', (_ctx, error) => report({ event: 'server_error', message: error.message }));

server.on('request', provider.callback());
process.stdin.resume().on('end', () => process.exit(0));
report({ event: 'ready', issuer, confidential });
