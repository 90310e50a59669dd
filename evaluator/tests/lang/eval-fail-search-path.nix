# A search path that leads nowhere.
<surely-not-there>
