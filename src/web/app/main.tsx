import { render } from 'preact';
import { App } from './app.tsx';
import { login } from './live.ts';
import { applyTheme } from './theme.ts';
import './app.css';

applyTheme();

/** A token in the address is used once and taken out of it, so that nobody copies it along with the link. */
async function tokenFromAddress(): Promise<void> {
  const found = /^#token=(.+)$/.exec(location.hash);
  if (!found) return;
  history.replaceState(null, '', '#/topology');
  await login(decodeURIComponent(found[1]));
}

await tokenFromAddress();
const root = document.getElementById('app');
if (root) render(<App />, root);
