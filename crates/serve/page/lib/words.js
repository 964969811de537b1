// What the page says, in two languages. Each folder brings its own words.

const LANGUAGES = ["en", "ko"];
const KEPT = "foretoken-language";
const known = { en: {}, ko: {} };
let current = kept() ?? (navigator.language.toLowerCase().startsWith("ko") ? "ko" : "en");

/**
 * Adds words: for each key a text with places in braces, as "{n} tokens", or a function of the values.
 * @param {{en: Object<string, any>, ko: Object<string, any>}} words
 */
export function add(words) {
  for (const language of LANGUAGES) Object.assign(known[language], words[language]);
}

/**
 * A text in the current language.
 * @param {string} key
 * @param {Object<string, any>} [values]
 * @returns {string}
 */
export function t(key, values = {}) {
  const text = known[current][key];
  if (text === undefined) throw new Error(`no words for ${key} in ${current}`);
  if (typeof text === "function") return text(values);
  return text.replace(/\{(\w+)\}/g, (_, name) => {
    if (!(name in values)) throw new Error(`the words for ${key} lack ${name}`);
    return String(values[name]);
  });
}

/**
 * "en" or "ko".
 * @returns {string}
 */
export function language() {
  return current;
}

/**
 * Speaks this language from now on, also the next time.
 * @param {string} to
 */
export function setLanguage(to) {
  current = LANGUAGES.includes(to) ? to : "en";
  try {
    localStorage.setItem(KEPT, current);
  } catch {
    // Then it is only for this time.
  }
}

/**
 * A number as the language writes it.
 * @param {number} value
 * @param {Intl.NumberFormatOptions} [options]
 * @returns {string}
 */
export function number(value, options) {
  return new Intl.NumberFormat(current, options).format(value);
}

/**
 * A probability as a person reads it: 12.3%, 0.04%, <0.01%.
 * @param {number} p from 0 to 1
 * @returns {string}
 */
export function percent(p) {
  const value = 100 * p;
  if (value > 0 && value < 0.01) return "<0.01%";
  return `${value.toFixed(value >= 99.995 ? 0 : value >= 10 ? 1 : 2)}%`;
}

function kept() {
  try {
    const language = localStorage.getItem(KEPT);
    return LANGUAGES.includes(language) ? language : null;
  } catch {
    return null;
  }
}
