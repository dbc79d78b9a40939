BEGIN TRANSACTION;
CREATE TABLE adsorbate (
	name TEXT NOT NULL, 
	formula TEXT NOT NULL, 
	structure TEXT NOT NULL, 
	binding TEXT NOT NULL, 
	CONSTRAINT pk_adsorbate PRIMARY KEY (name)
);
INSERT INTO "adsorbate" VALUES('OH','OH','{}','[0]');
CREATE TABLE alembic_version (
	version_num VARCHAR(32) NOT NULL, 
	CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num)
);
INSERT INTO "alembic_version" VALUES('0005');
CREATE TABLE bulk (
	id TEXT NOT NULL, 
	formula TEXT NOT NULL, 
	source TEXT NOT NULL, 
	structure TEXT NOT NULL, 
	CONSTRAINT pk_bulk PRIMARY KEY (id)
);
INSERT INTO "bulk" VALUES('bulk','CuPt','L1_0','{}');
CREATE TABLE calculation (
	item TEXT NOT NULL, 
	level TEXT NOT NULL, 
	token TEXT NOT NULL, 
	attempt INTEGER NOT NULL, 
	memory_class INTEGER NOT NULL, 
	started_at DOUBLE NOT NULL, 
	state TEXT NOT NULL, 
	ended_at DOUBLE, 
	job TEXT NOT NULL, 
	host TEXT NOT NULL, 
	engine TEXT NOT NULL, 
	level_hash TEXT NOT NULL, 
	versions TEXT NOT NULL, 
	input_sha256 TEXT NOT NULL, 
	structure_in TEXT NOT NULL, 
	structure_out TEXT NOT NULL, 
	rungs TEXT NOT NULL, 
	error_class TEXT NOT NULL, 
	error_message TEXT NOT NULL, 
	refused INTEGER NOT NULL, 
	note TEXT NOT NULL, 
	CONSTRAINT pk_calculation PRIMARY KEY (item, level, token), 
	CONSTRAINT ck_calculation_state_known CHECK (state in ('running', 'converged', 'anomalous', 'failed', 'cancelled')), 
	CONSTRAINT fk_calculation_level FOREIGN KEY(level) REFERENCES level_of_theory (name)
);
INSERT INTO "calculation" VALUES('b2','emt','3270a9e5517242a6b379fc781df874a5',1,0,1.79598221663502454759e+09,'converged',1.79598221668708634378e+09,'','','','','{}','','','','[]','','',0,'');
CREATE TABLE calculation_file (
	item TEXT NOT NULL, 
	level TEXT NOT NULL, 
	token TEXT NOT NULL, 
	name TEXT NOT NULL, 
	size_bytes BIGINT NOT NULL, 
	content BLOB, 
	CONSTRAINT pk_calculation_file PRIMARY KEY (item, level, token, name), 
	CONSTRAINT ck_calculation_file_size_non_negative CHECK (size_bytes >= 0), 
	CONSTRAINT fk_calculation_file_item_level_token FOREIGN KEY(item, level, token) REFERENCES calculation (item, level, token)
);
CREATE TABLE calculation_step (
	item TEXT NOT NULL, 
	level TEXT NOT NULL, 
	token TEXT NOT NULL, 
	step INTEGER NOT NULL, 
	energy_ev DOUBLE NOT NULL, 
	fmax DOUBLE NOT NULL, 
	at DOUBLE NOT NULL, 
	CONSTRAINT pk_calculation_step PRIMARY KEY (item, level, token, step), 
	CONSTRAINT fk_calculation_step_item_level_token FOREIGN KEY(item, level, token) REFERENCES calculation (item, level, token)
)
 WITHOUT ROWID

;
CREATE TABLE campaign (
	name TEXT NOT NULL, 
	config_sha256 TEXT NOT NULL, 
	config TEXT NOT NULL, 
	level TEXT NOT NULL, 
	checkpoint_sha256 TEXT NOT NULL, 
	seed BIGINT NOT NULL, 
	status TEXT NOT NULL, verification_level TEXT, screened_with TEXT DEFAULT '' NOT NULL, 
	CONSTRAINT pk_campaign PRIMARY KEY (name), 
	CONSTRAINT ck_campaign_status_known CHECK (status in ('running', 'finished')), 
	CONSTRAINT fk_campaign_checkpoint_sha256 FOREIGN KEY(checkpoint_sha256) REFERENCES checkpoint (sha256), 
	CONSTRAINT fk_campaign_level FOREIGN KEY(level) REFERENCES level_of_theory (name)
);
INSERT INTO "campaign" VALUES('first','1111111111111111111111111111111111111111111111111111111111111111','seed: 1
','emt','cccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccc',1,'finished',NULL,'cccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccc');
CREATE TABLE campaign_item (
	campaign TEXT NOT NULL, 
	stage TEXT NOT NULL, 
	item_id TEXT NOT NULL, 
	state TEXT NOT NULL, 
	reason TEXT NOT NULL, contender BOOLEAN DEFAULT 0 NOT NULL, 
	CONSTRAINT pk_campaign_item PRIMARY KEY (campaign, stage, item_id), 
	CONSTRAINT ck_campaign_item_stage_known CHECK (stage in ('bulk', 'slab', 'adsorbate', 'element', 'pair', 'placement')), 
	CONSTRAINT ck_campaign_item_state_of_stage CHECK (state = 'refused' or (stage <> 'placement' and state = 'used') or (stage = 'placement' and state in ('out_of_domain', 'predicted', 'queued', 'kept', 'passed_over'))), 
	CONSTRAINT ck_campaign_item_refusal_has_reason CHECK (state not in ('refused', 'out_of_domain') or reason <> ''), 
	CONSTRAINT fk_campaign_item_campaign FOREIGN KEY(campaign) REFERENCES campaign (name)
)
 WITHOUT ROWID

;
INSERT INTO "campaign_item" VALUES('first','placement','a1','kept','',1);
INSERT INTO "campaign_item" VALUES('first','placement','a2','queued','',1);
INSERT INTO "campaign_item" VALUES('first','placement','b1','passed_over','',0);
INSERT INTO "campaign_item" VALUES('first','placement','b2','queued','',1);
CREATE TABLE candidate (
	id TEXT NOT NULL, 
	pair_id TEXT NOT NULL, 
	slab_id TEXT NOT NULL, 
	adsorbate TEXT NOT NULL, 
	site_kind TEXT NOT NULL, 
	site TEXT NOT NULL, 
	recipe TEXT NOT NULL, 
	structure TEXT, 
	CONSTRAINT pk_candidate PRIMARY KEY (id), 
	CONSTRAINT fk_candidate_adsorbate FOREIGN KEY(adsorbate) REFERENCES adsorbate (name), 
	CONSTRAINT fk_candidate_slab_id FOREIGN KEY(slab_id) REFERENCES slab (id)
);
INSERT INTO "candidate" VALUES('a1','pair-a','slab','OH','bridge','bridge Cu-Pt','{"atoms":[4,7],"rotation_deg":90.0}',NULL);
INSERT INTO "candidate" VALUES('a2','pair-a','slab','OH','bridge','bridge Cu-Pt','{"atoms":[4,7],"rotation_deg":90.0}',NULL);
INSERT INTO "candidate" VALUES('b1','pair-b','slab','OH','bridge','bridge Cu-Pt','{"atoms":[4,7],"rotation_deg":90.0}',NULL);
INSERT INTO "candidate" VALUES('b2','pair-b','slab','OH','bridge','bridge Cu-Pt','{"atoms":[4,7],"rotation_deg":90.0}',NULL);
CREATE TABLE checkpoint (
	sha256 TEXT NOT NULL, 
	name TEXT NOT NULL, 
	kind TEXT NOT NULL, 
	card TEXT NOT NULL, model TEXT DEFAULT '' NOT NULL, folder TEXT DEFAULT '' NOT NULL, parent_sha256 TEXT, 
	CONSTRAINT pk_checkpoint PRIMARY KEY (sha256)
);
INSERT INTO "checkpoint" VALUES('cccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccc','mini','qe','{}','mini','',NULL);
CREATE TABLE chunk (
	campaign TEXT NOT NULL, 
	chunk_id TEXT NOT NULL, 
	n_items INTEGER NOT NULL, 
	CONSTRAINT pk_chunk PRIMARY KEY (campaign, chunk_id), 
	CONSTRAINT fk_chunk_campaign FOREIGN KEY(campaign) REFERENCES campaign (name)
);
INSERT INTO "chunk" VALUES('first','chunk',4);
CREATE TABLE fine_tuning (
	id TEXT NOT NULL, 
	campaign TEXT NOT NULL, 
	model TEXT NOT NULL, 
	parent_sha256 TEXT NOT NULL, 
	training_set TEXT NOT NULL, 
	level TEXT NOT NULL, 
	method TEXT NOT NULL, 
	n_labels INTEGER NOT NULL, 
	state TEXT NOT NULL, 
	checkpoint_sha256 TEXT, 
	folder TEXT NOT NULL, 
	report TEXT NOT NULL, 
	error TEXT NOT NULL, 
	started_at DOUBLE NOT NULL, 
	ended_at DOUBLE, 
	CONSTRAINT pk_fine_tuning PRIMARY KEY (id), 
	CONSTRAINT ck_fine_tuning_state_known CHECK (state in ('running', 'accepted', 'rejected', 'failed')), 
	CONSTRAINT ck_fine_tuning_n_labels_non_negative CHECK (n_labels >= 0), 
	CONSTRAINT ck_fine_tuning_judged_is_a_checkpoint CHECK (state not in ('accepted', 'rejected') or checkpoint_sha256 is not null), 
	CONSTRAINT ck_fine_tuning_ended_has_time CHECK ((state = 'running') = (ended_at is null)), 
	CONSTRAINT fk_fine_tuning_parent_sha256 FOREIGN KEY(parent_sha256) REFERENCES checkpoint (sha256), 
	CONSTRAINT fk_fine_tuning_checkpoint_sha256 FOREIGN KEY(checkpoint_sha256) REFERENCES checkpoint (sha256), 
	CONSTRAINT fk_fine_tuning_level FOREIGN KEY(level) REFERENCES level_of_theory (name)
);
CREATE TABLE label (
	candidate_id TEXT NOT NULL, 
	level TEXT NOT NULL, 
	energy_ev DOUBLE NOT NULL, 
	e_adslab DOUBLE NOT NULL, 
	e_slab DOUBLE NOT NULL, 
	e_references TEXT NOT NULL, 
	converged BOOLEAN NOT NULL, 
	flags TEXT NOT NULL, 
	steps INTEGER NOT NULL, 
	fmax DOUBLE NOT NULL, 
	structure TEXT NOT NULL, 
	trainable BOOLEAN NOT NULL, level_hash TEXT DEFAULT '' NOT NULL, flag_numbers TEXT DEFAULT '{}' NOT NULL, site_before TEXT DEFAULT '' NOT NULL, site_after TEXT DEFAULT '' NOT NULL, migrated BOOLEAN DEFAULT 0 NOT NULL, relaxed_text TEXT DEFAULT '' NOT NULL, two_start_ev DOUBLE, 
	CONSTRAINT pk_label PRIMARY KEY (candidate_id, level), 
	CONSTRAINT ck_label_trainable_is_converged CHECK (converged or not trainable), 
	CONSTRAINT ck_label_energy_ev_finite CHECK (energy_ev > -1e6 and energy_ev < 1e6), 
	CONSTRAINT fk_label_candidate_id FOREIGN KEY(candidate_id) REFERENCES candidate (id), 
	CONSTRAINT fk_label_level FOREIGN KEY(level) REFERENCES level_of_theory (name)
);
INSERT INTO "label" VALUES('b2','emt',-0.4,-10.0,-9.0,'{"H2":-6.9,"H2O":-12.8}',1,'[]',12,0.03,'{}',1,'','{}','','',0,'',NULL);
CREATE TABLE level_of_theory (
	name TEXT NOT NULL, 
	level_hash TEXT NOT NULL, 
	engine TEXT NOT NULL, 
	functional TEXT NOT NULL, 
	settings TEXT NOT NULL, 
	reference TEXT NOT NULL, 
	CONSTRAINT pk_level_of_theory PRIMARY KEY (name), 
	CONSTRAINT uq_level_of_theory_level_hash UNIQUE (level_hash)
);
INSERT INTO "level_of_theory" VALUES('emt','eeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeee','emt','','{}','{}');
CREATE TABLE prediction (
	candidate_id TEXT NOT NULL, 
	checkpoint_sha256 TEXT NOT NULL, 
	level TEXT NOT NULL, 
	energy_ev DOUBLE NOT NULL, 
	sigma_ev DOUBLE NOT NULL, 
	regression_ev DOUBLE, 
	token_ev DOUBLE, 
	in_domain BOOLEAN NOT NULL, 
	reason TEXT NOT NULL, 
	CONSTRAINT pk_prediction PRIMARY KEY (candidate_id, checkpoint_sha256, level), 
	CONSTRAINT ck_prediction_energy_ev_finite CHECK (energy_ev > -1e6 and energy_ev < 1e6), 
	CONSTRAINT ck_prediction_regression_ev_finite CHECK (regression_ev > -1e6 and regression_ev < 1e6), 
	CONSTRAINT ck_prediction_sigma_non_negative CHECK (sigma_ev >= 0 and sigma_ev < 1e6), 
	CONSTRAINT ck_prediction_token_ev_finite CHECK (token_ev > -1e6 and token_ev < 1e6), 
	CONSTRAINT fk_prediction_candidate_id FOREIGN KEY(candidate_id) REFERENCES candidate (id), 
	CONSTRAINT fk_prediction_checkpoint_sha256 FOREIGN KEY(checkpoint_sha256) REFERENCES checkpoint (sha256), 
	CONSTRAINT fk_prediction_level FOREIGN KEY(level) REFERENCES level_of_theory (name)
)
 WITHOUT ROWID

;
INSERT INTO "prediction" VALUES('a1','cccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccc','emt',-0.6,0.1,-0.6,NULL,1,'');
INSERT INTO "prediction" VALUES('a2','cccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccc','emt',-0.7,0.1,-0.7,NULL,1,'');
INSERT INTO "prediction" VALUES('b1','cccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccc','emt',-0.6,0.1,-0.6,NULL,1,'');
INSERT INTO "prediction" VALUES('b2','cccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccc','emt',-0.7,0.1,-0.7,NULL,1,'');
CREATE TABLE promotion (
	model TEXT NOT NULL, 
	number INTEGER NOT NULL, 
	checkpoint_sha256 TEXT NOT NULL, 
	previous_sha256 TEXT, 
	why TEXT NOT NULL, 
	report TEXT NOT NULL, 
	at DOUBLE NOT NULL, 
	CONSTRAINT pk_promotion PRIMARY KEY (model, number), 
	CONSTRAINT ck_promotion_why_known CHECK (why in ('gate', 'by hand', 'rollback')), 
	CONSTRAINT ck_promotion_number_from_1 CHECK (number >= 1), 
	CONSTRAINT ck_promotion_serves_another CHECK (checkpoint_sha256 <> previous_sha256), 
	CONSTRAINT fk_promotion_checkpoint_sha256 FOREIGN KEY(checkpoint_sha256) REFERENCES checkpoint (sha256), 
	CONSTRAINT fk_promotion_previous_sha256 FOREIGN KEY(previous_sha256) REFERENCES checkpoint (sha256)
);
CREATE TABLE queue (
	item TEXT NOT NULL, 
	level TEXT NOT NULL, 
	kind TEXT NOT NULL, 
	candidate_id TEXT, 
	campaign TEXT NOT NULL, 
	priority DOUBLE NOT NULL, 
	why TEXT NOT NULL, 
	state TEXT NOT NULL, 
	attempts INTEGER NOT NULL, 
	failures TEXT NOT NULL, 
	memory_class INTEGER NOT NULL, 
	structure_sha256 TEXT NOT NULL, 
	lease_token TEXT, 
	lease_until DOUBLE, 
	error_class TEXT NOT NULL, 
	error_message TEXT NOT NULL, 
	CONSTRAINT pk_queue PRIMARY KEY (item, level), 
	CONSTRAINT ck_queue_state_known CHECK (state in ('queued', 'leased', 'held', 'waiting', 'converged', 'anomalous', 'failed', 'cancelled')), 
	CONSTRAINT ck_queue_why_known CHECK (why in ('promising', 'uncertain', 'needed')), 
	CONSTRAINT ck_queue_kind_known CHECK (kind in ('adslab', 'slab', 'gas')), 
	CONSTRAINT ck_queue_lease_complete CHECK ((state = 'leased') = (lease_token is not null and lease_until is not null)), 
	CONSTRAINT ck_queue_adslab_is_candidate CHECK ((kind = 'adslab') = (candidate_id is not null) and coalesce(candidate_id, item) = item), 
	CONSTRAINT ck_queue_adslabs_alone_wait CHECK (kind = 'adslab' or state <> 'waiting'), 
	CONSTRAINT ck_queue_memory_class_from_0 CHECK (memory_class >= 0), 
	CONSTRAINT fk_queue_candidate_id FOREIGN KEY(candidate_id) REFERENCES candidate (id), 
	CONSTRAINT fk_queue_level FOREIGN KEY(level) REFERENCES level_of_theory (name)
);
INSERT INTO "queue" VALUES('a2','emt','adslab','a2','first',1.0,'uncertain','waiting',0,'{}',0,'',NULL,NULL,'','');
INSERT INTO "queue" VALUES('b2','emt','adslab','b2','first',2.0,'uncertain','converged',1,'{}',0,'',NULL,NULL,'','');
INSERT INTO "queue" VALUES('H2','emt','gas',NULL,'first',1.0,'needed','queued',0,'{}',0,'',NULL,NULL,'','');
INSERT INTO "queue" VALUES('slab','emt','slab',NULL,'first',1.0,'needed','queued',0,'{}',0,'44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a',NULL,NULL,'','');
CREATE TABLE queue_need (
	item TEXT NOT NULL, 
	level TEXT NOT NULL, 
	needs TEXT NOT NULL, 
	kind TEXT NOT NULL, 
	CONSTRAINT pk_queue_need PRIMARY KEY (item, level, needs), 
	CONSTRAINT ck_queue_need_kind_known CHECK (kind in ('gas', 'slab')), 
	CONSTRAINT fk_queue_need_item_level FOREIGN KEY(item, level) REFERENCES queue (item, level)
)
 WITHOUT ROWID

;
INSERT INTO "queue_need" VALUES('a2','emt','H2','gas');
INSERT INTO "queue_need" VALUES('a2','emt','slab','slab');
CREATE TABLE rank (
	campaign TEXT NOT NULL, 
	rank INTEGER NOT NULL, 
	rank_group INTEGER NOT NULL, 
	pair_id TEXT NOT NULL, 
	candidate_id TEXT NOT NULL, 
	adsorbate TEXT NOT NULL, 
	energy_ev DOUBLE NOT NULL, 
	sigma_ev DOUBLE NOT NULL, 
	probability DOUBLE NOT NULL, 
	CONSTRAINT pk_rank PRIMARY KEY (campaign, rank), 
	CONSTRAINT ck_rank_probability_in_0_1 CHECK (probability >= 0 and probability <= 1), 
	CONSTRAINT ck_rank_rank_from_1 CHECK (rank >= 1), 
	CONSTRAINT fk_rank_campaign FOREIGN KEY(campaign) REFERENCES campaign (name), 
	CONSTRAINT fk_rank_candidate_id FOREIGN KEY(candidate_id) REFERENCES candidate (id), 
	CONSTRAINT uq_rank_campaign_pair_id UNIQUE (campaign, pair_id)
)
 WITHOUT ROWID

;
INSERT INTO "rank" VALUES('first',1,1,'pair-b','b2','OH',-0.5,0.1,0.9);
INSERT INTO "rank" VALUES('first',2,1,'pair-a','a2','OH',-0.5,0.1,0.9);
CREATE TABLE reference_energy (
	level TEXT NOT NULL, 
	kind TEXT NOT NULL, 
	item TEXT NOT NULL, 
	energy_ev DOUBLE NOT NULL, 
	structure TEXT, 
	CONSTRAINT pk_reference_energy PRIMARY KEY (level, kind, item), 
	CONSTRAINT ck_reference_energy_kind_known CHECK (kind in ('gas', 'slab')), 
	CONSTRAINT fk_reference_energy_level FOREIGN KEY(level) REFERENCES level_of_theory (name)
);
CREATE TABLE round (
	campaign TEXT NOT NULL, 
	number INTEGER NOT NULL, 
	started_at DOUBLE NOT NULL, 
	budget DOUBLE NOT NULL, 
	state TEXT NOT NULL, 
	ended_at DOUBLE, 
	spent DOUBLE NOT NULL, 
	converged INTEGER NOT NULL, 
	anomalous INTEGER NOT NULL, 
	failed INTEGER NOT NULL, 
	labels INTEGER NOT NULL, 
	found INTEGER NOT NULL, 
	mae_new_ev DOUBLE, 
	coverage_new DOUBLE, 
	mae_before_ev DOUBLE, 
	mae_after_ev DOUBLE, 
	coverage_before DOUBLE, 
	coverage_after DOUBLE, 
	checkpoint_before TEXT, 
	checkpoint_after TEXT, 
	verdict TEXT NOT NULL, 
	note TEXT NOT NULL, 
	stopped TEXT NOT NULL, 
	CONSTRAINT pk_round PRIMARY KEY (campaign, number), 
	CONSTRAINT ck_round_state_known CHECK (state in ('running', 'finished')), 
	CONSTRAINT ck_round_verdict_known CHECK (verdict in ('', 'accepted', 'rejected', 'failed')), 
	CONSTRAINT ck_round_number_from_1 CHECK (number >= 1), 
	CONSTRAINT ck_round_ended_has_time CHECK ((state = 'running') = (ended_at is null)), 
	CONSTRAINT ck_round_counts_non_negative CHECK (converged >= 0 and anomalous >= 0 and failed >= 0 and labels >= 0 and found >= 0), 
	CONSTRAINT fk_round_campaign FOREIGN KEY(campaign) REFERENCES campaign (name), 
	CONSTRAINT fk_round_checkpoint_before FOREIGN KEY(checkpoint_before) REFERENCES checkpoint (sha256), 
	CONSTRAINT fk_round_checkpoint_after FOREIGN KEY(checkpoint_after) REFERENCES checkpoint (sha256)
);
INSERT INTO "round" VALUES('first',1,1.79598221672335195539e+09,5.0,'running',NULL,0.0,0,0,0,0,0,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,'','','');
CREATE TABLE slab (
	id TEXT NOT NULL, 
	bulk_id TEXT NOT NULL, 
	miller_h INTEGER NOT NULL, 
	miller_k INTEGER NOT NULL, 
	miller_l INTEGER NOT NULL, 
	shift DOUBLE NOT NULL, 
	side TEXT NOT NULL, 
	n_atoms INTEGER NOT NULL, 
	elements TEXT NOT NULL, 
	structure TEXT NOT NULL, 
	CONSTRAINT pk_slab PRIMARY KEY (id), 
	CONSTRAINT ck_slab_side_known CHECK (side in ('top', 'bottom')), 
	CONSTRAINT ck_slab_n_atoms_positive CHECK (n_atoms > 0), 
	CONSTRAINT fk_slab_bulk_id FOREIGN KEY(bulk_id) REFERENCES bulk (id)
);
INSERT INTO "slab" VALUES('slab','bulk',1,-1,0,0.25,'top',12,'["Cu","Pt"]','{}');
CREATE INDEX ix_slab_bulk_id ON slab (bulk_id);
CREATE INDEX ix_candidate_pair_id ON candidate (pair_id);
CREATE VIEW funnel AS
SELECT campaign, stage, state, reason, count(*) AS count
FROM (SELECT campaign, stage, state, substr(reason, 1, instr(reason || ':', ':') - 1) AS reason FROM campaign_item) AS ruled
GROUP BY campaign, stage, state, reason;
CREATE INDEX ix_queue_ready ON queue (level, priority DESC, kind DESC, item) WHERE state = 'queued';
CREATE INDEX ix_queue_leased ON queue (lease_until) WHERE state = 'leased';
CREATE INDEX ix_queue_waiting ON queue (level, item) WHERE state = 'waiting';
CREATE INDEX ix_queue_need_needs ON queue_need (level, needs);
CREATE VIEW ranked_candidates AS
SELECT r.campaign, r.rank, r.rank_group, b.formula AS bulk,
    '(' || s.miller_h || ' ' || s.miller_k || ' ' || s.miller_l || ')' AS miller,
    CASE WHEN EXISTS (
        SELECT 1 FROM slab o
        WHERE o.bulk_id = s.bulk_id AND o.miller_h = s.miller_h AND o.miller_k = s.miller_k
            AND o.miller_l = s.miller_l AND (abs(o.shift - s.shift) > 0.001 OR o.side <> s.side)
    ) THEN printf('%.2f', s.shift) || CASE s.side WHEN 'bottom' THEN ' bottom' ELSE '' END
    ELSE '' END AS termination,
    r.adsorbate, c.site, r.energy_ev, r.sigma_ev, r.probability, m.level,
    coalesce(m.verification_level, m.level) AS label_level,
    substr(m.checkpoint_sha256, 1, 12) AS checkpoint, q.state AS queue_state,
    l.energy_ev AS label_ev, r.candidate_id
FROM rank r
CROSS JOIN campaign m
CROSS JOIN candidate c
CROSS JOIN slab s
CROSS JOIN bulk b
LEFT JOIN queue q ON q.item = r.candidate_id AND q.level = coalesce(m.verification_level, m.level)
LEFT JOIN label l ON l.candidate_id = r.candidate_id AND l.level = coalesce(m.verification_level, m.level)
WHERE m.name = r.campaign AND c.id = r.candidate_id AND s.id = c.slab_id AND b.id = s.bulk_id;
CREATE VIEW queue_status AS
SELECT campaign, level, kind, state, count(*) AS count
FROM (
    SELECT campaign, level, kind, state, item FROM queue
    UNION
    SELECT i.campaign, q.level, q.kind, q.state, q.item
    FROM queue q
    JOIN campaign m ON q.level = coalesce(m.verification_level, m.level)
    JOIN campaign_item i ON i.campaign = m.name AND i.stage = 'placement'
        AND i.item_id = q.item AND i.state = 'queued'
) AS wanted
GROUP BY campaign, level, kind, state;
CREATE VIEW verification_queue AS
SELECT q.item, q.kind, q.level, q.campaign, q.state, q.priority, q.why, b.formula AS bulk,
    '(' || s.miller_h || ' ' || s.miller_k || ' ' || s.miller_l || ')' AS miller,
    CASE WHEN EXISTS (
        SELECT 1 FROM slab o
        WHERE o.bulk_id = s.bulk_id AND o.miller_h = s.miller_h AND o.miller_k = s.miller_k
            AND o.miller_l = s.miller_l AND (abs(o.shift - s.shift) > 0.001 OR o.side <> s.side)
    ) THEN printf('%.2f', s.shift) || CASE s.side WHEN 'bottom' THEN ' bottom' ELSE '' END
    ELSE '' END AS termination,
    c.adsorbate, c.site, p.energy_ev, p.sigma_ev, l.energy_ev AS label_ev, q.attempts,
    q.memory_class, q.error_class, q.error_message, q.lease_until, s.id AS slab_id
FROM queue q
LEFT JOIN candidate c ON c.id = q.candidate_id
LEFT JOIN slab s ON s.id = coalesce(c.slab_id, q.item)
LEFT JOIN bulk b ON b.id = s.bulk_id
LEFT JOIN campaign m ON m.name = q.campaign
LEFT JOIN prediction p ON p.candidate_id = q.candidate_id AND p.level = m.level
    AND p.checkpoint_sha256 = m.checkpoint_sha256
LEFT JOIN label l ON l.candidate_id = q.candidate_id AND l.level = q.level;
CREATE INDEX ix_campaign_item_contender ON campaign_item (campaign, item_id) WHERE contender = 1;
CREATE VIEW pair_minimum AS
SELECT campaign, pair_id, slab_id, adsorbate, candidate_id, energy_ev, sigma_ev, n_placements
FROM (
    SELECT i.campaign, c.pair_id, c.slab_id, c.adsorbate, p.candidate_id, p.energy_ev, p.sigma_ev,
        count(*) OVER (PARTITION BY i.campaign, c.pair_id) AS n_placements,
        row_number() OVER (
            PARTITION BY i.campaign, c.pair_id ORDER BY p.energy_ev, p.candidate_id
        ) AS place
    FROM campaign_item i
    JOIN campaign m ON m.name = i.campaign
    JOIN candidate c ON c.id = i.item_id
    JOIN prediction p ON p.candidate_id = c.id AND p.level = m.level
        AND p.checkpoint_sha256 = m.checkpoint_sha256
    WHERE i.stage = 'placement' AND i.state <> 'refused' AND p.in_domain AND (i.contender OR m.checkpoint_sha256 = m.screened_with)
) AS placed
WHERE place = 1;
CREATE INDEX ix_fine_tuning_campaign ON fine_tuning (campaign);
CREATE INDEX ix_fine_tuning_checkpoint_sha256 ON fine_tuning (checkpoint_sha256);
CREATE UNIQUE INDEX ix_round_running ON round (campaign) WHERE state = 'running';
COMMIT;
