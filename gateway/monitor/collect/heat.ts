import type { Sample } from '../catalogue.ts';
import type { Files } from '../files.ts';

/** Firmware of the Pi: vcgencmd get_throttled. */
const throttledFile = '/sys/devices/platform/soc/soc:firmware/get_throttled';

/** Temperature and what the firmware says of heat and supply. */
export class Heat {
  readonly #files: Files;
  #sensors: readonly string[];

  constructor(files: Files) {
    this.#files = files;
    this.#sensors = this.#find();
  }

  samples(): Sample[] {
    const degrees = this.#sensors.flatMap((path) => this.#files.number(path) ?? []);
    // A driver that was loaded later, or one that is gone.
    if (degrees.length === 0) this.#sensors = this.#find();
    const samples: Sample[] = [];
    if (degrees.length > 0)
      samples.push({ measure: 'heat.temperature', value: Math.max(...degrees) / 1000 });
    const text = this.#files.text(throttledFile)?.trim();
    if (text !== undefined && /^[0-9a-f]+$/i.test(text)) {
      // Bits: 0 under-voltage, 1 frequency capped, 2 throttled, 3 too hot; 16 to 19: was so since boot.
      const bits = Number.parseInt(text, 16);
      samples.push(
        { measure: 'heat.throttled', value: bits },
        { measure: 'power.low', value: bits & 1 },
        { measure: 'heat.slowed', value: (bits & 0b1110) > 0 ? 1 : 0 },
      );
    }
    return samples;
  }

  #find(): string[] {
    const zones = this.#files
      .names('/sys/class/thermal')
      .filter((name) => name.startsWith('thermal_zone'))
      .map((name) => `/sys/class/thermal/${name}/temp`);
    const sensors = this.#files.names('/sys/class/hwmon').flatMap((name) =>
      this.#files
        .names(`/sys/class/hwmon/${name}`)
        .filter((file) => /^temp\d+_input$/.test(file))
        .map((file) => `/sys/class/hwmon/${name}/${file}`),
    );
    return [...zones, ...sensors];
  }
}
