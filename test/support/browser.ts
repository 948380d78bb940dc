/** Debian's Chromium, without a screen, for the dashboard's tests; and the pages, built when the sources are newer. */
import { existsSync, globSync, mkdtempSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type BrowserContext, chromium, type Page } from 'playwright-core';
import { ROOT, systemProgram } from './run.ts';

const ARGS = [
  ...['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking'],
  ...['--disable-component-update', '--disable-sync'],
];

export class Browser implements AsyncDisposable {
  readonly context: BrowserContext;
  readonly page: Page;
  /** What the page has complained of. */
  readonly complaints: string[] = [];
  private readonly profile: string;

  private constructor(context: BrowserContext, page: Page, profile: string) {
    this.context = context;
    this.page = page;
    this.profile = profile;
    page.on('pageerror', (error) => this.complaints.push(error.message));
    page.on('console', (message) => {
      // A connection that ends is what some tests are about.
      if (message.type() === 'error' && !/Failed to load resource|net::/.test(message.text()))
        this.complaints.push(message.text());
    });
  }

  static async start(viewport = { width: 1280, height: 800 }): Promise<Browser> {
    const profile = mkdtempSync(join(tmpdir(), 'sb-chromium-'));
    const executablePath = systemProgram('chromium') ?? '';
    const context = await chromium.launchPersistentContext(profile, {
      executablePath,
      headless: true,
      args: ARGS,
      viewport,
    });
    return new Browser(context, context.pages()[0] ?? (await context.newPage()), profile);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.context.close();
    rmSync(this.profile, { recursive: true, force: true, maxRetries: 5 });
  }
}

/** The directory of the built pages: the package's own while they are newer than their sources, else built for this test. */
export async function builtPages(): Promise<string> {
  const built = join(ROOT, 'dist/web');
  const sources = globSync('src/web/**/*', { cwd: ROOT }).map((path) => statSync(join(ROOT, path)).mtimeMs);
  const index = join(built, 'index.html');
  if (existsSync(index) && statSync(index).mtimeMs > Math.max(...sources)) return built;
  const { buildPages } = await import('../../scripts/pages.ts');
  const own = mkdtempSync(join(tmpdir(), 'sb-pages-'));
  process.once('exit', () => rmSync(own, { recursive: true, force: true }));
  await buildPages(own);
  return own;
}
