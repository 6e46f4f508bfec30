// What the pages do by themselves. Nothing is fetched from elsewhere, nothing is evaluated.
"use strict";
