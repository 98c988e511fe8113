import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { UsageError } from '../errors.js';
import { linkSpeed, namedNetworks, networkProfiles, networksMarkdown, parseNetwork } from './profiles.js';

describe('networks as text', () => {
  it.each([
    ['100mbit,20ms', 12.5e6, 0.02],
    ['12.5MB/s,40ms', 12.5e6, 0.04],
    ['1gbit/s, 300us', 125e6, 0.0003],
    [' 9.6 kbit , 2 s ', 1200, 2],
    ['500B/s,0ms', 500, 0],
    ['.5GB/s,1s', 5e8, 1],
  ])('%s', (text, bytesPerSecond, roundTripSeconds) => {
    const network = parseNetwork(text)!;
    expect(network.bytesPerSecond).toBeCloseTo(bytesPerSecond, 6);
    expect(network.roundTripSeconds).toBeCloseTo(roundTripSeconds, 12);
  });

  it('knows names', () => {
    expect(parseNetwork('none')).toBeUndefined();
    expect(parseNetwork('LAN')).toEqual(networkProfiles.lan);
    for (const [name, network] of namedNetworks) expect(parseNetwork(name)).toBe(network);
  });

  it('a home line is slow away from the client alone, and server and provider have a link of their own', () => {
    const { home } = networkProfiles;
    const megabits = (from: 'client' | 'server' | 'provider', to: 'client' | 'server' | 'provider') =>
      (linkSpeed(home, from, to).bytesPerSecond * 8) / 1e6;
    expect([megabits('client', 'server'), megabits('client', 'provider')]).toEqual([40, 40]);
    expect([megabits('server', 'client'), megabits('provider', 'client')]).toEqual([250, 250]);
    expect([megabits('server', 'provider'), megabits('provider', 'server')]).toEqual([10_000, 10_000]);
    expect(linkSpeed(networkProfiles.lan, 'client', 'server')).toEqual(linkSpeed(networkProfiles.lan, 'provider', 'server'));
  });

  it('have a line each in the documentation', () => {
    for (const [name] of namedNetworks) expect(networksMarkdown()).toContain(`| \`${name}\` |`);
  });

  it.each([
    '',
    'fast',
    'lan,wan',
    '100mbit',
    '100,20',
    '100mbit,20',
    '100mbit,20ms,3',
    '0mbit,20ms',
    '-1mbit,20ms',
    '1e9bit,1ms',
    'mbit,ms',
    '1..5mbit,1ms',
    '1constructor,1ms',
    'constructor',
  ])('refuses "%s"', (text) => {
    expect(() => parseNetwork(text)).toThrow(UsageError);
  });

  it('reads or refuses any text, and nothing it reads is negative or endless', () => {
    fc.assert(
      fc.property(fc.oneof(fc.string(), fc.stringMatching(/^[0-9. kmgbits/,]*$/)), (text) => {
        try {
          const network = parseNetwork(text);
          if (network === undefined) return;
          expect(network.bytesPerSecond).toBeGreaterThan(0);
          expect(network.roundTripSeconds).toBeGreaterThanOrEqual(0);
        } catch (error) {
          expect(error).toBeInstanceOf(UsageError);
        }
      }),
    );
  });
});
