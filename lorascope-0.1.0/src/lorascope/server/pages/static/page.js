// What every page loads. Each part listens on the document, so what htmx puts in later works like the rest.

import "./ask.js";
import "./copy.js";
import "./mature.js";
import "./shelf.js";
import "./split.js";
import "./toast.js";
import "./try.js";
