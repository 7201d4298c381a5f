// An OpenID Connect provider with one client and one person: node server.mjs PORT REDIRECT_URI.
// Everyone may sign in under any name, with the groups of the names after a dot: `ann.OIC-Admins`.
import Provider from 'oidc-provider';

const [port, redirectUri] = process.argv.slice(2);
const issuer = `http://127.0.0.1:${port}`;
const provider = new Provider(issuer, {
  clients: [{
    client_id: 'console', client_secret: 'secret-of-the-console', redirect_uris: [redirectUri],
    grant_types: ['authorization_code'], response_types: ['code'],
  }],
  pkce: { required: () => true },
  claims: { openid: ['sub'], profile: ['name'], groups: ['groups'] },
  scopes: ['openid', 'profile', 'groups'],
  cookies: { keys: ['a key that signs the cookies of a test'] },
  findAccount: (_, id) => ({
    accountId: id,
    claims: async () => ({ sub: id, name: id.split('.')[0], groups: id.split('.').slice(1) }),
  }),
});
provider.listen(Number(port), '127.0.0.1', () => console.log('listening'));
