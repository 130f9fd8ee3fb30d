// An OpenID provider that people can log in at: `node provider.mjs PORT ORIGIN`, where ORIGIN is the
// gateway's. Whoever types a name is that person. What it does beside that is set below `/control/`.
import http from 'node:http';
import { Provider, interactionPolicy } from 'oidc-provider';
import * as jose from 'jose';

const port = Number(process.argv[2]);
const gateway = process.argv[3];
const issuer = `http://127.0.0.1:${port}`;

const state = { lifetime: 3600, token: 'ok', rotate: true, grants: {}, revocations: 0 };

const signingKey = async () => {
  const { privateKey } = await jose.generateKeyPair('RS256', { extractable: true });
  return { ...(await jose.exportJWK(privateKey)), kid: 'login', alg: 'RS256', use: 'sig' };
};

const client = (id, more) => ({
  client_id: id,
  client_secret: 'gw-secret',
  grant_types: ['authorization_code', 'refresh_token'],
  response_types: ['code'],
  redirect_uris: [`${gateway}/_session/callback`, `${gateway}/auth/callback`],
  post_logout_redirect_uris: [`${gateway}/`, `${gateway}/bye`],
  require_auth_time: true,
  ...more,
});

const people = {
  alice: { roles: ['reader'], org_id: 'acme' },
  root: { roles: ['reader', 'admin'], org_id: 'acme' },
  // What does not fit one cookie.
  large: { roles: ['reader'], org_id: 'a'.repeat(4000) },
  // Nor several.
  huge: { roles: ['reader'], org_id: 'a'.repeat(9000) },
};

const policy = interactionPolicy.base();

const provider = new Provider(issuer, {
  jwks: { keys: [await signingKey()] },
  clients: [
    client('web', { token_endpoint_auth_method: 'client_secret_basic' }),
    client('post', { token_endpoint_auth_method: 'client_secret_post' }),
    client('public', { token_endpoint_auth_method: 'none', client_secret: undefined }),
  ],
  cookies: { keys: ['a key of the tests alone'] },
  claims: { openid: ['sub', 'roles', 'org_id'], acr: null, auth_time: null },
  conformIdTokenClaims: false,
  acrValues: ['urn:once', 'urn:mfa'],
  scopes: ['openid', 'orders.read'],
  pkce: { required: () => true },
  ttl: {
    AccessToken: () => state.lifetime,
    IdToken: 3600,
    RefreshToken: 86400,
    Session: 86400,
    Grant: 86400,
    Interaction: 600,
  },
  issueRefreshToken: async () => true,
  rotateRefreshToken: () => state.rotate,
  expiresWithSession: async () => false,
  interactions: { policy, url: (ctx, interaction) => `/interaction/${interaction.uid}` },
  features: {
    devInteractions: { enabled: false },
    revocation: { enabled: true },
    rpInitiatedLogout: {
      enabled: true,
      logoutSource: async (ctx, form) => {
        const button = '<button id="leave" type="submit" form="op.logoutForm" name="logout" value="yes">leave</button>';
        ctx.body = `<!doctype html><title>leave</title>${form}${button}`;
      },
    },
  },
  findAccount: async (ctx, id) => ({
    accountId: id,
    claims: async () => ({ sub: id, ...people[id] }),
  }),
  // Nobody is asked for consent: the client is the same company's.
  loadExistingGrant: async (ctx) => {
    const { client, session, result } = ctx.oidc;
    const known = result?.consent?.grantId ?? session.grantIdFor(client.clientId);
    if (known) return ctx.oidc.provider.Grant.find(known);
    const grant = new ctx.oidc.provider.Grant({ clientId: client.clientId, accountId: session.accountId });
    grant.addOIDCScope('openid orders.read');
    await grant.save();
    return grant;
  },
});

const body = (request) => new Promise((resolve) => {
  let text = '';
  request.on('data', (piece) => { text += piece; });
  request.on('end', () => resolve(new URLSearchParams(text)));
});

const interaction = async (request, response) => {
  const details = await provider.interactionDetails(request, response);
  if (request.method === 'GET') {
    response.setHeader('content-type', 'text/html');
    response.end(`<!doctype html><title>log in</title><form method="post" action="/interaction/${details.uid}">
      <input id="name" name="name"><button id="enter">log in</button></form>`);
    return;
  }
  const form = await body(request);
  if (form.get('name') === 'nobody') {
    const refusal = { error: 'access_denied', error_description: 'went away' };
    await provider.interactionFinished(request, response, refusal);
    return;
  }
  const acr = (details.params.acr_values ?? 'urn:once').split(' ')[0];
  const login = { accountId: form.get('name'), acr, remember: true };
  await provider.interactionFinished(request, response, { login }, { mergeWithLastSubmission: false });
};

// How the token endpoint behaves: `ok`, a status, or silence.
const token = async (request, response, callback) => {
  state.grants.all = (state.grants.all ?? 0) + 1;
  if (state.token === 'hang') return;
  if (state.token === 'garbage') { response.end('{"access_token":'); return; }
  if (state.token !== 'ok') {
    const [status, error] = state.token.split(':');
    response.statusCode = Number(status);
    response.setHeader('content-type', 'application/json');
    response.end(JSON.stringify(error ? { error } : {}));
    return;
  }
  await callback(request, response);
};

const control = (path, response) => {
  const [, , name, value] = path.split('/');
  if (name === 'lifetime') state.lifetime = Number(value);
  if (name === 'token') state.token = decodeURIComponent(value);
  if (name === 'rotate') state.rotate = value === 'yes';
  response.setHeader('content-type', 'application/json');
  response.end(JSON.stringify(state));
};

const callback = provider.callback();
http.createServer(async (request, response) => {
  const path = request.url.split('?')[0];
  try {
    if (path.startsWith('/control/')) return control(path, response);
    if (path.startsWith('/interaction/')) return await interaction(request, response);
    if (path === '/token') return await token(request, response, callback);
    if (path === '/token/revocation') state.revocations += 1;
    return await callback(request, response);
  } catch (error) {
    response.statusCode = 500;
    return response.end(String(error));
  }
}).listen(port, '127.0.0.1', () => console.log('issuer', issuer));
