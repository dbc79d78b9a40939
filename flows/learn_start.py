"""Begin a fine-tuning or a loop: read file and settings, run, print the end."""

from pathlib import Path

from flows.campaign_learning import Learning
from flows.control_plane import control_plane
from flows.engine_places import read_places
from flows.errors import CampaignError
from flows.learn import learn, require_one_level
from flows.loop import Loop
from flows.loop_parts import CampaignParts, loop_flow
from flows.places import choose_database, existing_database, lake_of, models_of, work_of
from flows.record import record_start
from flows.campaign_file import load_campaign
from flows.settings import read_settings
from flows.show_learning import show_learnt, show_rounds
from flows.start import Asked, cluster_of, open_campaign, where_of
from flows.screen import Control, run_screening
from flows.workers import device_for
from screening_db.lock import campaign_lock
from screening_db.queries import campaign as campaign_row
from screening_db.stale import model_of
