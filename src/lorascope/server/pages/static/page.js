// What every page loads. Each part listens on the document, so what htmx puts in later works like the rest.

import "./ask.js";
import "./choose.js";
import "./copy.js";
import "./grid.js";
import "./look.js";
import "./mature.js";
import "./send.js";
import "./shelf.js";
import "./split.js";
import "./toast.js";
import "./try.js";
import "./visits.js";
