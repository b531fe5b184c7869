// The extension looks for a global of this name, as script tags make it.
import htmx from "htmx.org";

globalThis.htmx = htmx;
