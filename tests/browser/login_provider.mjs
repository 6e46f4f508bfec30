// A login provider for tests/browser/test_login_provider.py: `node login_provider.mjs PORT BACK OUT`; it prints `ready`.
import { Provider } from 'oidc-provider';

const [port, back, out] = process.argv.slice(2);
const groups = { ann: ['vision'], bob: ['others'] };
const provider = new Provider(`http://localhost:${port}`, {
  clients: [{
    client_id: 'neverblink-console',
    client_secret: 'the-secret-of/the+client:100%',
    redirect_uris: [back],
    post_logout_redirect_uris: [out],
  }],
  claims: { openid: ['sub'], profile: ['preferred_username', 'groups'] },
  pkce: { required: () => true },
  findAccount: (_, id) => ({
    accountId: id,
    claims: () => ({ sub: id, preferred_username: id, groups: groups[id] ?? [] }),
  }),
});
provider.listen(Number(port), 'localhost', () => console.log('ready'));
