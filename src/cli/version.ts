// The package's version, as files that commands write state it.
import { readFileSync } from 'node:fs';

const packageFile = new URL('../../../package.json', import.meta.url);

export function packageVersion(): string {
  const { version } = JSON.parse(readFileSync(packageFile, 'utf8')) as { version: string };
  return version;
}
